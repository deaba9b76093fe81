"""Which block sizes a decoder used, how often it changed them, and what each brought."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from .figures import Blocks, BlockUse
from .observed import Cycle, Observed, quotient, totals


def blocks_of(observed: Observed) -> Blocks | None:
    """Return the block usage of a cell; None where no cycle that counts tells its block."""
    by_size: dict[int, list[Cycle]] = {}
    for cycle in observed.counted:
        if cycle.block_size is not None:
            by_size.setdefault(cycle.block_size, []).append(cycle)
    if not by_size:
        return None
    known = sum(map(len, by_size.values()))
    switches, transitions = switches_of(sample.counted for sample in observed.samples)
    return Blocks(
        sizes=tuple(_use(size, found, known) for size, found in sorted(by_size.items())),
        switches=switches,
        transitions=transitions,
        switch_rate=quotient(switches, transitions),
    )


def switches_of(samples: Iterable[Sequence[Cycle]]) -> tuple[int, int]:
    """Count the changes of block size within samples, and the transitions at which one could have been."""
    changes = [a.block_size != b.block_size for cycles in samples for a, b in pairwise(cycles)]
    return sum(changes), len(changes)


def _use(size: int, cycles: Sequence[Cycle], of: int) -> BlockUse:
    return BlockUse(
        block_size=size,
        cycles=len(cycles),
        share=len(cycles) / of,
        tau=sum(cycle.tokens for cycle in cycles) / len(cycles),
        tokens_per_s=totals(cycles, lambda cycle: cycle.tokens, lambda cycle: cycle.cycle_s),
        below_half_share=sum(cycle.is_low for cycle in cycles) / len(cycles),
    )
