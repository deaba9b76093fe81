"""What candidate blocks did: how many were verified, which won, and what that gained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .figures import CandidateUse
from .observed import Cycle, Observed, ObservedSample, mean


def candidates_of(observed: Observed) -> CandidateUse | None:
    """Return the candidate statistics of a cell; None where no cycle tells of candidates."""
    cycles = [cycle for cycle in observed.counted if cycle.candidates is not None]
    pooled = mean(cycle.candidates for cycle in cycles)
    by_sample = mean(_per_cycle(sample) for sample in observed.samples)
    calls = mean(_verify_calls(sample.cycles) for sample in observed.samples if sample.cycles)
    if pooled is None or by_sample is None or calls is None:
        return None
    chosen = [index for cycle in cycles if (index := cycle.count("chosen_candidate_idx")) is not None]
    return CandidateUse(
        candidates_per_cycle=pooled,
        candidates_per_cycle_mean=by_sample,
        verify_calls_per_sample=calls,
        most_candidates=max(cycle.candidates or 0 for cycle in cycles),
        budget_counts=_counted(cycle.count("cycle_max_candidates") for cycle in cycles),
        chosen_counts=_counted(chosen),
        rank_counts=_counted(_chosen(cycle, "candidate_rank_variants") for cycle in cycles),
        not_greedy_share=mean(index > 0 for index in chosen),
        gained_tokens_per_cycle=mean(_gain(cycle) for cycle in cycles),
    )


def _per_cycle(sample: ObservedSample) -> float | None:
    return mean(cycle.candidates for cycle in sample.counted)


def _verify_calls(cycles: Sequence[Cycle]) -> int:
    return sum(1 if cycle.forwards is None else cycle.forwards for cycle in cycles)


def _chosen(cycle: Cycle, name: str) -> int | None:
    """Return the chosen candidate's entry of a list with one per candidate."""
    index = cycle.count("chosen_candidate_idx")
    return None if index is None else cycle.count_at(name, index)


def _gain(cycle: Cycle) -> int | None:
    tau, greedy = _chosen(cycle, "candidate_taus"), cycle.count_at("candidate_taus", 0)
    return None if tau is None or greedy is None else tau - greedy


def _counted(values: Iterable[int | None]) -> dict[int, int]:
    return dict(sorted(Counter(value for value in values if value is not None).items()))
