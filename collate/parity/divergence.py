"""Whether cells commit the same tokens under greedy decoding, from the outputs in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...core.records.store import Store
from ..comparison.observations import Cell, PromptKey, Row
from ..comparison.result import Divergence, Parity

Scores = dict[tuple[str, str, str, int], tuple[float | None, float | None]]
"""(baseline cell, cell, sample_id, position) -> (log-probability gap, top-two margin)."""


def load_scores(store: Store, experiment: str) -> Scores:
    """Return what ``decodebench parity`` scored."""
    rows = store.query(
        'SELECT baseline_cell, cell, sample_id, "position", logprob_gap, top2_margin FROM parity_scores '
        "WHERE experiment = ? ORDER BY source",
        [experiment],
    )[1]
    return {(base, cell, sample, position): (gap, margin) for base, cell, sample, position, gap, margin in rows}


@dataclass(frozen=True, slots=True)
class _Pair:
    key: PromptKey
    ours: Row
    theirs: Row


def parity_of(cell: Cell, baseline: Cell, scores: Scores) -> Parity:
    """Compare a cell's first finished round with the baseline's.

    Token ids are compared where both cells ran the same model or saw the same prompt ids, text otherwise. Every problem
    that was asked must be answered by both sides before the verdict can be ``identical``.
    """
    if cell is baseline:
        return Parity(verdict="baseline")
    if not cell.rounds or not baseline.rounds:
        return _not_comparable("no finished round")
    temperatures = [side.run["sampling"]["temperature"] for side in (cell, baseline)]
    if any(temperature is not None and temperature > 0 for temperature in temperatures):
        return _not_comparable("sampled at a temperature above 0: outputs differ by design")
    ours, theirs = cell.rounds[0].answers(), baseline.rounds[0].answers()
    pairs = [_Pair(key, ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return _not_comparable("no common problem")
    asked = max(len(ours.keys() | theirs.keys()), *(side.run["samples"] or 0 for side in (cell, baseline)))
    field, reason = _comparable_field(cell, baseline, pairs)
    if field is None:
        return _not_comparable(reason)
    same = [pair for pair in pairs if pair.ours[field] == pair.theirs[field]]
    different = [pair for pair in pairs if pair.ours[field] != pair.theirs[field]]
    divergences = (
        tuple(_divergence(pair, cell, baseline, scores) for pair in different) if field == "output_ids" else ()
    )
    if different and None in temperatures:
        return _not_comparable(
            f"{len(different)} of {len(pairs)} outputs differ, and the temperature is not recorded: they may be sampled"
        )
    if different:
        verdict: Literal["identical", "ties only", "differs", "not comparable"] = (
            "ties only" if divergences and all(d.is_tie for d in divergences) else "differs"
        )
    elif len(pairs) < asked:
        verdict, reason = "not comparable", f"{asked - len(pairs)} of {asked} problems lack an answer"
    else:
        verdict = "identical"
    return Parity(
        verdict=verdict, identical=len(same), compared=len(pairs), divergences=divergences, reason=reason or None
    )


def _comparable_field(cell: Cell, baseline: Cell, pairs: list[_Pair]) -> tuple[str | None, str]:
    """Return the field to compare, and what is to be said of the choice."""
    same_model = cell.run["model_hash"] is not None and cell.run["model_hash"] == baseline.run["model_hash"]
    hashes = [(pair.ours["prompt_hash"], pair.theirs["prompt_hash"]) for pair in pairs]
    same_prompts = all(a is not None and a == b for a, b in hashes)
    if same_model and any(a is not None and b is not None and a != b for a, b in hashes):
        return None, "the prompts differ (prompt_hash)"
    if (same_model or same_prompts) and _all_have("output_ids", pairs):
        return "output_ids", ""
    if _all_have("choice_logprobs", pairs):
        return "text", "compared by the choice: nothing is generated"
    if _all_have("text", pairs):
        why = "token ids are missing" if same_model or same_prompts else "the vocabularies may differ"
        return "text", f"compared by text: {why}"
    return None, "neither comparable token ids nor text in the logs"


def _all_have(field: str, pairs: list[_Pair]) -> bool:
    return all(pair.ours[field] is not None and pair.theirs[field] is not None for pair in pairs)


def _divergence(pair: _Pair, cell: Cell, baseline: Cell, scores: Scores) -> Divergence:
    ours, theirs = pair.ours["output_ids"], pair.theirs["output_ids"]
    shorter = min(len(ours), len(theirs))
    position = next((i for i in range(shorter) if ours[i] != theirs[i]), shorter)
    gap, margin = scores.get((baseline.cell_id, cell.cell_id, pair.key[0], position), (None, None))
    return Divergence(
        sample_id=pair.key[0],
        position=position,
        baseline_token=theirs[position] if position < len(theirs) else None,
        token=ours[position] if position < len(ours) else None,
        logprob_gap=gap,
        top2_margin=margin,
    )


def _not_comparable(reason: str) -> Parity:
    return Parity(verdict="not comparable", reason=reason)
