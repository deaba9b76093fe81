"""How many cores a process has."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Return the number of physical cores this process may run on; hardware threads of one core count once.

    It is the default thread count of every engine: two threads on one core slow a matrix product down.
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
