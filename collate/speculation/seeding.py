"""What seeding did: how many rejected tokens went into the next block."""

from __future__ import annotations

from .figures import SeedUse
from .observed import Observed


def seeding_of(observed: Observed) -> SeedUse | None:
    """Return the seeding statistics of a cell; None where no cycle tells of seeds."""
    cycles = [cycle for cycle in observed.counted if cycle.count("seeded_count") is not None]
    if not cycles:
        return None
    seeded = [cycle.count("seeded_count") or 0 for cycle in cycles]
    return SeedUse(
        cycles=len(cycles),
        attempted_cycles=sum((cycle.count("recycled_available") or 0) > 0 for cycle in cycles),
        seeded_cycles=sum(count > 0 for count in seeded),
        seeded_share=sum(count > 0 for count in seeded) / len(cycles),
        seeded_tokens=sum(seeded),
        seeded_tokens_per_cycle=sum(seeded) / len(cycles),
        recycled_tokens=sum(cycle.count("recycled_next") or 0 for cycle in cycles),
    )
