"""How a cycle becomes a step: the verdict is committed, the rules learn from it, the trace tells what they did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import JsonValue

from ...core.contract.generation import Request, Step
from .clock import Clock
from .options import DFlashOptions
from .row import Row
from .schedulers import Observation
from .verification import Verdict

Marked = tuple[Step, tuple[Any, Any], tuple[Any, Any]]
"""A step, and the clock's marks around its drafting and its verification."""


def commit(row: Row, options: DFlashOptions, verdict: Verdict, chosen: int, size: int, cycle_s: float) -> Step:
    """Move a row on by what a cycle gained and return its step.

    Args:
        row: whose cycle it was.
        options: the rules.
        verdict: of the verification.
        chosen: block size that the scheduler wanted.
        size: block size that there was room for.
        cycle_s: how long the cycle took, in seconds.
    """
    tau = len(verdict.tokens)
    drafted_length = _length_before_stop(row.request, verdict.block[1:], size)
    observation = Observation(row.cycle, tau, cycle_s, size, drafted_length)
    row.previous_ratio = tau / size
    visible = row.commit(verdict.tokens)
    trace: dict[str, JsonValue] = dict(verdict.trace)
    if tau != len(visible):
        trace["tau"] = tau
    if options.scheduler != "fixed":
        row.scheduler.update(observation)
        trace |= {"chosen_block_size": chosen, "l_gen": drafted_length, **row.scheduler.trace()}
    if options.seed_mode != "none":
        row.seeder.observe(verdict.block, tau)
        trace |= row.seeder.trace()
    return Step(
        visible,
        row=row.index,
        block_size=size,
        drafted=size - 1,
        accepted=min(tau - 1, len(visible)),
        candidates=verdict.candidates,
        forwards=1,
        engine_s=cycle_s,
        trace=trace or None,
    )


def note_times(clock: Clock, marked: Iterable[Marked]) -> None:
    """Give steps the times of their drafting and verification, once the sample has ended."""
    for step, draft, verify in marked:
        step.draft_s, step.verify_s = clock.seconds(*draft), clock.seconds(*verify)


def _length_before_stop(request: Request, drafted: Sequence[int], size: int) -> int:
    """Return the place of the first stop token among the drafted ones, from 1; the block size where there is none."""
    return next((at for at, token in enumerate(drafted, 1) if request.is_stop(token)), size)
