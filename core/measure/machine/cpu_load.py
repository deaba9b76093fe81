"""How many CPUs other processes keep busy: all that is busy less what this process and its workers use."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from .process_tree import cpu_s

_STAT = Path("/proc/stat")
_USER_TO_STEAL = (0, 1, 2, 5, 6, 7)  # user nice system idle iowait irq softirq steal, see proc(5); guest is in user
_SHORTEST_S = 0.2  # the kernel counts in hundredths of a second, on each CPU


class CpuWatch:
    """Counts from when it is made what others use of the CPUs that this process may run on.

    Time that the hypervisor gave to other guests (steal) is theirs, too. Workers count as ours once they have been
    waited for, with everything that they started (``isolation/processes/keeper.py``).

    Args:
        server: a process of ours that was there before and goes on, with all that it starts; None: there is none.
    """

    def __init__(self, server: int | None = None) -> None:
        self._server = server
        self._start = _now(server)

    def other_cpus(self) -> float | None:
        """Return the mean number of CPUs kept busy by others since then; None where too little time has passed."""
        start, end = self._start, _now(self._server)
        seconds = end[0] - start[0]
        if seconds < _SHORTEST_S:
            return None
        return round(max(0.0, (end[1] - start[1]) - (end[2] - start[2])) / seconds, 2)


def usable_cpus() -> Collection[int]:
    """Return the numbers of the CPUs that this process may run on, hardware threads counted singly."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def busy_seconds(stat: str, ticks_per_s: int) -> Mapping[int, float]:
    """Return the seconds that each CPU has been busy since the start of the system.

    Args:
        stat: content of ``/proc/stat``.
        ticks_per_s: the unit of its figures.
    """
    busy = {}
    for line in stat.splitlines():
        name, *figures = line.split() or [""]
        if name.startswith("cpu") and name != "cpu":
            ticks = sum(int(figures[at]) for at in _USER_TO_STEAL if at < len(figures))
            busy[int(name.removeprefix("cpu"))] = ticks / ticks_per_s
    return busy


def _now(server: int | None) -> tuple[float, float, float]:
    """Return the time, the seconds that the usable CPUs have been busy, and those of them that are ours."""
    own = os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    return time.monotonic(), _all_busy_s(), ours + (0.0 if server is None else cpu_s(server))


def _all_busy_s() -> float:
    if sys.platform == "linux":
        busy = busy_seconds(_STAT.read_text(encoding="utf-8"), os.sysconf("SC_CLK_TCK"))
        return sum(busy.get(cpu, 0.0) for cpu in usable_cpus())
    total = psutil.cpu_times()
    return float(total.user + total.system + getattr(total, "nice", 0.0))


def busiest_processes(seconds: float) -> list[tuple[float, str, int]]:
    """Return CPUs used, name and id of the other processes that use most, by watching all for some seconds.

    Args:
        seconds: to watch; processes that begin or end meanwhile are not among them.
    """
    before = _process_seconds()
    time.sleep(seconds)
    after = _process_seconds()
    own = os.getpid()
    used = [
        ((spent - before[process][0]) / seconds, name, process.pid)
        for process, (spent, name) in after.items()
        if process in before and process.pid != own
    ]
    return sorted(used, reverse=True)


def _process_seconds() -> dict[psutil.Process, tuple[float, str]]:
    found = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                times = process.cpu_times()
                found[process] = times.user + times.system, process.name()
        except psutil.Error:  # it has ended, or nobody may look at it
            continue
    return found
