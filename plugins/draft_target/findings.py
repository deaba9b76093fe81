"""What the totals of a draft/target log reveal: verifiers that verify nothing, cycles that contribute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from ...core.contract.finding import CellFacts, Doubt, FindingCheck, Place
from ...core.records.engine_counters import EngineCounters

_MANY_ROUNDS = 2.0  # times as many as drafts that are accepted whole need
_LIKELY = 0.999


def whole_acceptance(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Every sample accepted everything: two models that agree that much are one, or nothing was verified."""
    for cell in _drafting(cells):
        rates = [_told(sample, "accepted") / _told(sample, "drafted") for sample in _drafted(cell)]
        tokens = sum(_told(sample, "drafted") for sample in _drafted(cell))
        if len(rates) > 1 and min(rates) > _LIKELY and _draft_of(cell) != cell["model"]:
            yield Doubt(
                f"{cell['label']}: every one of {tokens} drafted tokens in {len(rates)} samples was accepted; a target "
                "that differs from its draft rejects some",
                "was the draft's own model verifying?",
                _places(_drafted(cell)),
                "error",
            )


def ineffective_verifier(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Texts that follow the draft and not the target."""
    drafting = [cell for cell in _drafting(cells) if (cell["sampling"] or {}).get("temperature") == 0]
    for target in dict.fromkeys(cell["model"] for cell in drafting):
        same = [cell for cell in drafting if cell["model"] == target]
        for at, first in enumerate(same):
            for second in same[at + 1 :]:
                if _draft_of(first) == _draft_of(second):
                    continue
                texts = [{s["sample_id"]: s["text"] for s in cell["measured"]} for cell in (first, second)]
                common = [key for key in texts[0] if key in texts[1]]
                differing = sum(texts[0][key] != texts[1][key] for key in common)
                if len(common) > 1 and differing == len(common):
                    yield Doubt(
                        f"{first['label']} and {second['label']}: one target ({target}), two drafts, greedy, and all "
                        f"{differing} texts differ: the text follows the draft, so the verifier was not effective",
                        rows=_places([*first["measured"], *second["measured"]]),
                        severity="error",
                    )


def wasted_rounds(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Far more verify cycles than accepted drafts need."""
    for cell in _drafting(cells):
        length = cell["options"].get("num_draft_tokens") or _usual_length(cell)
        whole = [s for s in _drafted(cell) if _told(s, "accepted") / _told(s, "drafted") > _LIKELY]
        wasteful = [s for s in whole if _told(s, "rounds") > _MANY_ROUNDS * ceil(_told(s, "output") / length)]
        if wasteful:
            worst = max(wasteful, key=lambda sample: _told(sample, "rounds"))
            cycles, tokens = _told(worst, "rounds"), _told(worst, "output")
            yield Doubt(
                f"{cell['label']}: {len(wasteful)} of {len(_drafted(cell))} samples took far more verify cycles than "
                f"their drafts need, such as {worst['sample_id'] or worst['index']}: {cycles} cycles for {tokens} "
                f"tokens, all accepted, where drafts of {length} need {ceil(tokens / length)}: most cycles committed "
                "one token, such as a repeated end token",
                rows=_places(wasteful),
            )


def unused_bonus(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Tokens that add up to the accepted ones: the target's own token of each verify cycle was dropped."""
    for cell in _drafting(cells):
        samples = [sample for sample in _drafted(cell) if _told(sample, "rounds") > 1]
        if samples and all(_told(s, "output") - _told(s, "accepted") in (0, 1) for s in samples):
            ended = sum(_told(s, "output") - _told(s, "accepted") for s in samples)
            yield Doubt(
                f"{cell['label']}: output tokens equal accepted ones (one more in {ended} of {len(samples)} samples, "
                "an end token): the target's own token after each draft, which costs nothing, was not used",
                rows=_places(samples),
            )


def _places(samples: Sequence[Mapping[str, Any]]) -> list[Place]:
    return [Place(run_id=sample["run_id"], sample=sample["index"]) for sample in samples]


def _drafting(cells: Sequence[CellFacts]) -> list[CellFacts]:
    return [cell for cell in cells if cell["backend"] == "draft-target" and _drafted(cell)]


def _drafted(cell: CellFacts) -> list[dict[str, Any]]:
    """Return the samples whose log tells sums of what was drafted; own logs tell every round, which checks itself."""
    return [sample for sample in cell["measured"] if sample["status"] == "ok" and _told(sample, "drafted")]


def _told(sample: dict[str, Any], name: str) -> int:
    counters = EngineCounters.of(sample["engine"] or {})
    found = {
        "output": sample["output_tokens"],
        "drafted": counters.draft_tokens,
        "accepted": counters.accepted_draft_tokens,
        "rounds": counters.speculation_rounds,
    }
    return int(found[name] or 0)


def _draft_of(cell: CellFacts) -> object:
    return cell["options"].get("draft")


def _usual_length(cell: CellFacts) -> int:
    """Return the longest draft that the sums allow to see: tokens per cycle of the best sample, rounded up."""
    lengths = (ceil(_told(s, "drafted") / _told(s, "rounds")) for s in _drafted(cell) if _told(s, "rounds"))
    return max(lengths, default=1)


FINDINGS = (
    FindingCheck("whole-acceptance", "drafts that were all accepted", whole_acceptance),
    FindingCheck("ineffective-verifier", "texts that follow the draft, not the target", ineffective_verifier),
    FindingCheck("wasted-rounds", "far more verify cycles than accepted drafts need", wasted_rounds),
    FindingCheck("unused-bonus", "the target's own token of each verify cycle was dropped", unused_bonus),
)
