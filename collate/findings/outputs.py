"""Outputs that differ, accuracy that is lost, and work that grew instead of slowing down."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.contract.finding import Doubt
from ..comparison.accuracy import accuracies
from ..comparison.labels import option_values
from ..comparison.observations import Cell, PromptKey, Row
from ..comparison.result import Divergence
from ..parity.divergence import load_scores, parity_of
from .subject import Subject, grouped, rounds_of, samples_at, temperature_of


def differing_outputs(subject: Subject) -> Iterator[Doubt]:
    """Greedy outputs that differ from those of the first cell of the same model and weight format."""
    scores = load_scores(subject.store, subject.experiment)
    for cells in _alike(subject):
        first = cells[0]
        for cell in cells[1:]:
            parity = parity_of(cell, first, scores)
            if parity.verdict not in ("differs", "ties only"):
                continue
            told = f"; first {_told(parity.divergences[0])}" if parity.divergences else ""
            yield Doubt(
                f"{subject.name(cell)} and {subject.name(first)}: greedy outputs differ for "
                f"{parity.compared - parity.identical} of {parity.compared} problems{told}",
                "" if parity.verdict == "ties only" else "`decodebench parity` separates ties from real differences",
                samples_at(_named(cell, {divergence.sample_id for divergence in parity.divergences})),
                "note" if parity.verdict == "ties only" else "warning",
            )


def _alike(subject: Subject) -> list[list[Cell]]:
    """Group the cells that should say the same: one model, one weight format, greedy; other formats may differ."""
    greedy = [cell for cell in subject.finished if temperature_of(cell) == 0]
    names = ("model", "task", "bits_per_weight", "quantisation")
    return grouped(greedy, lambda cell: tuple(cell.run[name] for name in names))


def _told(divergence: Divergence) -> str:
    where = f"at output token {divergence.position} of {divergence.sample_id}"
    if divergence.top2_margin is None:
        return where
    kind = "a tie" if divergence.is_tie else "a real difference"
    return f"{where}, where the two likeliest tokens are {divergence.top2_margin:.2g} apart in log-probability: {kind}"


def _named(cell: Cell, sample_ids: set[str]) -> list[Row]:
    return [sample for (name, _), sample in cell.rounds[0].answers().items() if name in sample_ids]


def unsteady_outputs(subject: Subject) -> Iterator[Doubt]:
    """Cells whose greedy outputs differ from round to round."""
    for cell in subject.cells:
        if temperature_of(cell) != 0 or len(cell.rounds) < 2:
            continue
        outputs: dict[object, set[tuple[int, ...]]] = {}
        for r in cell.rounds:
            for key, sample in r.answers().items():
                if sample["output_ids"] is not None:
                    outputs.setdefault((key, sample["prompt_hash"]), set()).add(tuple(sample["output_ids"]))
        unsteady = sum(len(found) > 1 for found in outputs.values())
        if unsteady:
            yield Doubt(
                f"{subject.name(cell)} is not deterministic: greedy outputs of {unsteady} of {len(outputs)} problems "
                "differ between rounds",
                "threads may sum in another order, or state may survive a request; its parity means little",
                rounds_of(cell),
            )


def lost_accuracy(subject: Subject) -> Iterator[Doubt]:
    """Quantisations that lose accuracy against the widest one of the same backend, model and device."""
    known = [cell for cell in subject.finished if cell.run["bits_per_weight"] is not None]
    names = ("backend", "model", "device")
    pairs = []
    for group in grouped(known, lambda cell: (*(cell.run[name] for name in names), repr(option_values(cell)))):
        best = max(group, key=lambda cell: float(cell.run["bits_per_weight"]))
        pairs += [(cell, best) for cell in group if cell.run["bits_per_weight"] < best.run["bits_per_weight"]]
    for (cell, best), accuracy in zip(pairs, accuracies(pairs), strict=True):
        if accuracy and accuracy.verdict == "lower" and accuracy.difference and accuracy.difference.value is not None:
            lost = 100 * accuracy.difference.value
            yield Doubt(
                f"{subject.name(cell)} loses accuracy: {lost:+.1f} points against {subject.name(best)}",
                "a speed-up that costs accuracy is not a speed-up",
                rounds_of(cell, best),
            )


def more_tokens(subject: Subject) -> Iterator[Doubt]:
    """Cells that take longer than the first of their model because of more tokens, not slower tokens."""
    groups: dict[tuple[object, object], list[Cell]] = {}
    for cell in subject.finished:
        groups.setdefault((cell.run["model"], cell.run["task"]), []).append(cell)
    for first, *others in groups.values():
        for cell in others:
            ours, theirs = _common(cell, first)
            if any(sample["output_tokens"] is None for sample in (*ours, *theirs)):
                continue  # choices were scored, or the log counts no tokens
            seconds, base_s = (sum(sample["duration_s"] or 0.0 for sample in side) for side in (ours, theirs))
            tokens, base_tokens = (sum(sample["output_tokens"] for sample in side) for side in (ours, theirs))
            if not (base_s > 0 and base_tokens > 0 and tokens > 0 and seconds > (1 + subject.min_effect) * base_s):
                continue
            if seconds / tokens <= base_s / base_tokens:
                yield Doubt(
                    f"{subject.name(cell)} takes {seconds / base_s:.2f} times as long as {subject.name(first)} for the "
                    f"same {len(ours)} problems, but for {tokens / base_tokens:.2f} times the tokens: more tokens, not "
                    "slower tokens",
                    "tokens/s hides this; compare the time per problem",
                    samples_at(ours),
                )


def _common(cell: Cell, baseline: Cell) -> tuple[list[Row], list[Row]]:
    ours, theirs = cell.rounds[0].answers(), baseline.rounds[0].answers()
    keys: list[PromptKey] = sorted(ours.keys() & theirs.keys())
    return [ours[key] for key in keys], [theirs[key] for key in keys]
