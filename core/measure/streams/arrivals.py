"""When the requests of an open loop are due: at times that nobody answers for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from ...records.workload import Workload
from ..job import PromptJob
from .trace_file import read_trace


def with_due_times(jobs: Sequence[PromptJob], workload: Workload, seed: int) -> tuple[PromptJob, ...]:
    """Return the prompts of a cell with the times when they are due, in seconds from the load's start.

    Warm-up prompts have none, nor do the later turns of a conversation, which wait for the one before.

    Args:
        jobs: warm-up first.
        workload: of the cell, with one load.
        seed: chooses random times.
    """
    rate, trace = workload.rate_per_s, workload.trace
    if rate is None and trace is None:
        return tuple(jobs)
    arriving = sum(not job.is_warmup and job.after is None for job in jobs)
    if trace is not None:
        times = iter(scaled([one.at_s for one in read_trace(Path(trace))[:arriving]], rate))
    else:
        times = iter(poisson(rate or 1.0, arriving, seed))
    return tuple(
        job if job.is_warmup or job.after is not None else job.model_copy(update={"due_s": next(times)}) for job in jobs
    )


def poisson(rate_per_s: float, requests: int, seed: int) -> list[float]:
    """Return when requests are due that come independently of each other, in seconds.

    The gaps are exponentially distributed with mean 1 / ``rate_per_s``: a Poisson process, so that bursts and lulls
    come as with many users. The same seed gives the same times, whatever answers.
    """
    chooser = random.Random(f"arrivals:{seed}")
    return list(accumulate(chooser.expovariate(rate_per_s) for _ in range(requests)))


def scaled(times_s: Sequence[float], rate_per_s: float | None) -> list[float]:
    """Return the recorded times of a trace from its first request on, in seconds.

    Args:
        times_s: in seconds on any clock, not decreasing.
        rate_per_s: stretches or shortens all gaps alike so that the mean rate is this; None: as recorded.
    """
    first, last = times_s[0], times_s[-1]
    factor = 1.0 if rate_per_s is None or last == first else (len(times_s) - 1) / (last - first) / rate_per_s
    return [factor * (at - first) for at in times_s]
