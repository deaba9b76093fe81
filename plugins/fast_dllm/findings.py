"""What follows from the definition of the options: sweeps that cannot show what they seem to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...core.contract.finding import CellFacts, Doubt, FindingCheck, Place


def idle_layers(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Cells of the published layer reuse that differ in the layers alone."""
    groups: dict[tuple[Any, ...], list[CellFacts]] = {}
    for cell in cells:
        options = cell["options"]
        if cell["backend"] == "fast-dllm" and options.get("reuse") == "published" and options.get("layer_subset"):
            others = {name: value for name, value in options.items() if name != "layer_subset"}
            groups.setdefault((cell["task"], cell["model"], repr(sorted(others.items()))), []).append(cell)
    for group in groups.values():
        k = group[0]["options"].get("reuse_k", 1)
        subsets = sorted({str(cell["options"]["layer_subset"]) for cell in group})
        if len(subsets) < 2:
            continue
        rows = [Place(run_id=cell["run_id"]) for cell in group]
        names = f"layer_subset {', '.join(subsets)} at reuse_k = {k}"
        if any(_is_scored_only(cell) for cell in group):
            yield Doubt(
                f"{names}: there are neither tokens nor times, as when a task is scored by log-likelihood in one "
                "forward each: reuse across steps never applied",
                rows=rows,
                severity="error",
            )
        elif k == 1 and len(accuracies := {(cell["totals"] or {}).get("accuracy") for cell in group}) > 1:
            told = ", ".join(sorted(map(str, accuracies)))
            yield Doubt(
                f"{names}: every step recomputes every layer, so these are repeats of one experiment, but their "
                f"accuracies are {told}: some are from another run",
                "score the texts again",
                rows,
                "error",
            )
        elif k == 1:
            yield Doubt(
                f"{names}: every step recomputes every layer, so these are {len(group)} repeats of one experiment",
                rows=rows,
                severity="note",
            )
        else:
            yield Doubt(
                f"{names}: the layers cannot matter: those above a reused layer get the same input as before, so "
                "the logits are those of the last full step",
                "reuse = 'stale-logits' gives the same text without a forward",
                rows,
            )


def _is_scored_only(cell: CellFacts) -> bool:
    """Whether a log has an accuracy but neither tokens nor time: nothing was generated."""
    totals = cell["totals"] or {}
    return totals.get("accuracy") is not None and totals.get("output_tokens") is None


FINDINGS = (
    FindingCheck(
        "idle-layers", "layer subsets of the published layer reuse, which cannot change the text", idle_layers
    ),
)
