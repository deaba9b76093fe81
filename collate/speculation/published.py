"""The same runs by the published definitions, so that published tables can be held beside ours."""

from __future__ import annotations

from collections import Counter

from .acceptance import shares, tau_counts
from .blocks import switches_of
from .figures import Published
from .observed import Cycle, Observed, ObservedSample, mean, quotient, totals


def published_of(observed: Observed) -> Published | None:
    """Return the published figures of a cell; None where it has neither cycles nor the published timers."""
    samples = observed.samples
    cycles = [cycle for sample in samples for cycle in sample.cycles]
    tpot_s, ttft_s = (mean(sample.engine.get(name) for sample in samples) for name in _MEANS)
    if not cycles and tpot_s is None and ttft_s is None:
        return None
    taus = [cycle.tau for cycle in cycles]
    switches, transitions = switches_of(sample.cycles for sample in samples)
    return Published(
        cycles=len(cycles),
        tau=mean(taus),
        tau_mean=mean(_tau(sample.cycles) for sample in samples),
        tau_shares=shares(tau_counts(taus)),
        block_counts=dict(sorted(Counter(size for cycle in cycles if (size := cycle.block_size) is not None).items())),
        switches=switches,
        transitions=transitions,
        draft_share=totals(cycles, lambda cycle: cycle.draft_s, _work_s),
        draft_s_per_cycle=mean(cycle.draft_s for cycle in cycles),
        verify_s_per_cycle=mean(cycle.verify_s for cycle in cycles),
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        tokens_per_s=_throughput(samples),
    )


PRINTED = "published_"
"""How the keys of ``Run.settings`` begin under which an imported log's own aggregates are kept."""
_MEANS = ("published_tpot_s", "published_ttft_s")


def _tau(cycles: list[Cycle]) -> float | None:
    return mean(cycle.tau for cycle in cycles)


def _work_s(cycle: Cycle) -> float | None:
    return None if cycle.draft_s is None or cycle.verify_s is None else cycle.draft_s + cycle.verify_s


def _throughput(samples: list[ObservedSample]) -> float | None:
    names = ("published_output_tokens", "published_wall_s")
    told = [sample.engine for sample in samples if all(name in sample.engine for name in names)]
    tokens, wall_s = (sum(engine[name] for engine in told) for name in names)
    return quotient(tokens, wall_s)
