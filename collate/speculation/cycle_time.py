"""What a verify cycle costs, and how much of it is drafting and verifying."""

from __future__ import annotations

from typing import Literal

from .figures import CycleTime
from .observed import Observed, mean, totals

_PROFILED = "published_profiled_cycles"


def cycle_time_of(observed: Observed) -> CycleTime | None:
    """Return the times of a cell's cycles; None where the log tells no cycle's time."""
    cycles = observed.counted
    cycle_s = mean(cycle.cycle_s for cycle in cycles)
    if cycle_s is None:
        return _of_summaries(observed)
    is_runner = {cycle.step_s is not None for cycle in cycles if cycle.cycle_s is not None}
    clock: Literal["runner", "engine", "both", "summary"] = (
        "both" if len(is_runner) == 2 else "runner" if is_runner == {True} else "engine"
    )
    return CycleTime(
        clock=clock,
        cycle_s=cycle_s,
        engine_cycle_s=mean(cycle.engine_s for cycle in cycles),
        draft_s=mean(cycle.draft_s for cycle in cycles),
        verify_s=mean(cycle.verify_s for cycle in cycles),
        wire_s=mean(cycle.wire_s for cycle in cycles),
        draft_share_of_cycle=totals(cycles, lambda cycle: cycle.draft_s, lambda cycle: cycle.cycle_s),
        verify_share_of_cycle=totals(cycles, lambda cycle: cycle.verify_s, lambda cycle: cycle.cycle_s),
    )


def _of_summaries(observed: Observed) -> CycleTime | None:
    """Return the times that samples tell as sums over their cycles, as published result rows with a profile do."""
    profiles = [sample.engine for sample in observed.samples if sample.engine.get(_PROFILED)]
    cycles = sum(profile[_PROFILED] for profile in profiles)

    def seconds(name: str) -> float | None:
        known = [profile[name] for profile in profiles if name in profile]
        return sum(known) / cycles if known and len(known) == len(profiles) else None

    cycle_s = seconds("published_cycle_decode_s_sum")
    if cycle_s is None:
        return None
    draft_s, verify_s = seconds("published_draft_decode_s"), seconds("published_target_decode_s")
    return CycleTime(
        clock="summary",
        cycle_s=cycle_s,
        engine_cycle_s=cycle_s,
        draft_s=draft_s,
        verify_s=verify_s,
        wire_s=None,
        draft_share_of_cycle=None if draft_s is None else draft_s / cycle_s,
        verify_share_of_cycle=None if verify_s is None else verify_s / cycle_s,
    )
