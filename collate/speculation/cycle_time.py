"""What a verify cycle costs, and how much of it is drafting and verifying."""

from __future__ import annotations

from typing import Literal

from .figures import CycleTime
from .observed import Observed, mean, totals


def cycle_time_of(observed: Observed) -> CycleTime | None:
    """Return the times of a cell's cycles; None where the log tells no cycle's time."""
    cycles = observed.counted
    cycle_s = mean(cycle.cycle_s for cycle in cycles)
    if cycle_s is None:
        return None
    is_runner = {cycle.step_s is not None for cycle in cycles if cycle.cycle_s is not None}
    clock: Literal["runner", "engine", "both"] = (
        "both" if len(is_runner) == 2 else "runner" if is_runner == {True} else "engine"
    )
    return CycleTime(
        clock=clock,
        cycle_s=cycle_s,
        engine_cycle_s=mean(cycle.engine_s for cycle in cycles),
        draft_s=mean(cycle.draft_s for cycle in cycles),
        verify_s=mean(cycle.verify_s for cycle in cycles),
        draft_share_of_cycle=totals(cycles, lambda cycle: cycle.draft_s, lambda cycle: cycle.cycle_s),
        verify_share_of_cycle=totals(cycles, lambda cycle: cycle.verify_s, lambda cycle: cycle.cycle_s),
    )
