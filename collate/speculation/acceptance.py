"""Acceptance: tau with its interval, its distribution, and how far into the block drafts are accepted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .figures import Acceptance, Position, Replicated
from .intervals import UNKNOWN, Parts, figure
from .observed import Cycle, Observed, ObservedRound, quotient


def acceptance_of(observed: Observed) -> Acceptance | None:
    """Return the acceptance of a cell; None where no cycle counts."""
    cycles = observed.counted
    if not cycles:
        return None
    counts = tau_counts([cycle.tokens for cycle in cycles])
    return Acceptance(
        cycles=len(cycles),
        tokens=sum(cycle.tokens for cycle in cycles),
        tau=replicated(observed.rounds, "tau"),
        tau_mean=replicated(observed.rounds, "tau_mean"),
        rate=replicated(observed.rounds, "acceptance_rate"),
        rate_mean=replicated(observed.rounds, "acceptance_rate_mean"),
        tau_counts=counts,
        tau_shares=shares(counts),
        positions=_positions(cycles),
        below_half_share=quotient(
            sum(cycle.is_low for cycle in cycles), sum(cycle.block_size is not None for cycle in cycles)
        ),
    )


def replicated(rounds: Sequence[ObservedRound], name: str) -> Replicated:
    """Return a figure of ``METRICS`` with its interval."""
    parts = [found for round in rounds if (found := _parts(round, name)) is not None]
    return figure(parts) if parts else UNKNOWN


def _parts(round: ObservedRound, name: str) -> Parts | None:
    known = [sample.parts[name] for sample in round.samples if name in sample.parts]
    if not known:
        return None
    both = np.array(known)
    return both[:, 0], both[:, 1]


def tau_counts(taus: Sequence[int]) -> tuple[int, ...]:
    """Return how many cycles gained 0, 1, 2, ... tokens."""
    return tuple(int(count) for count in np.bincount(taus)) if taus else ()


def shares(counts: Sequence[int]) -> tuple[float, ...]:
    """Return counts as shares of their sum."""
    return tuple(count / sum(counts) for count in counts)


def _positions(cycles: Sequence[Cycle]) -> tuple[Position, ...]:
    told = [
        (cycle.block_size, cycle.drafted, cycle.accepted)
        for cycle in cycles
        if cycle.drafted is not None and cycle.accepted is not None
    ]
    if any(size != drafted + 1 for size, drafted, _ in told):
        return ()  # several drafts were for the same position, as in multi-round sampling
    reached = _at_least([drafted for _, drafted, _ in told])
    accepted = _at_least([accepted for _, _, accepted in told]) + [0] * len(reached)
    return tuple(
        Position(
            position=position,
            reached=reached[position],
            accepted=accepted[position],
            share=accepted[position] / reached[position],
        )
        for position in range(1, len(reached))
    )


def _at_least(counts: Sequence[int]) -> list[int]:
    """Return how many are at least 0, 1, 2, ..., up to the largest."""
    return [int(n) for n in np.bincount(counts)[::-1].cumsum()[::-1]] if counts else []
