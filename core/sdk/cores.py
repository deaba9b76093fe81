"""How many cores a process has, and how many threads an engine takes on them."""

from __future__ import annotations

import os
from pathlib import Path

THREADS_VARIABLE = "DECODEBENCH_WORKER_THREADS"
"""Tells a worker how many threads its experiment gives to engines that were not told a number."""


def default_threads() -> int:
    """Return how many threads an engine takes that was not told a number.

    Within an experiment that was decided before its first round, for all of them; elsewhere it is one for each core.
    """
    told = os.environ.get(THREADS_VARIABLE, "")
    return int(told) if told.isdecimal() and int(told) else cores()


def cores() -> int:
    """Return the number of physical cores this process may run on; hardware threads of one core count once.

    More threads are no gain: two on one core slow a matrix product down.
    """
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_read(siblings.format(cpu)) or str(cpu) for cpu in os.sched_getaffinity(0)})


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
