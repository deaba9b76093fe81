"""A worker with everything that it has started: stopped and continued as one, and what it used of the CPU meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_PROC = Path("/proc")
_NS_PER_S = 1e9
_RESTS = frozenset(b"TtZX")  # stopped, traced, ended
_STOPS_WITHIN_S, _LOOKS_EVERY_S = 0.05, 0.0005


class Family:
    """The processes below a keeper, which itself is never stopped: it has to see when decodebench dies.

    Whatever a worker starts stays below its keeper, in whichever process group (``keeper.py``), so that nothing runs on
    where the worker is stopped.

    Args:
        keeper: its process id.

    Attributes:
        stopped_s: seconds that the family was stopped.
        stopped_cpu_s: CPU time that it used in these, of all CPUs together; None where the system does not say.
    """

    def __init__(self, keeper: int) -> None:
        self._keeper = keeper
        self._members: list[int] = []  # parents before their children
        self._since: tuple[float, float | None] | None = None
        self.stopped_s = 0.0
        self.stopped_cpu_s: float | None = 0.0

    def stop(self) -> None:
        """Stop every process of the family; what one starts before the signal reaches it is stopped as well."""
        stopped: list[int] = []
        while new := [process for process in _below(self._keeper) if process not in stopped]:
            for process in new:
                _send(process, signal.SIGSTOP)
            stopped += new
        self._members = stopped
        _wait_until_stopped(stopped)  # until then threads run on, and their CPU time is counted late
        self._since = time.monotonic(), _cpu_s(stopped)

    def go_on(self) -> None:
        """Continue what ``stop`` has stopped, children first: a parent finds them as it left them."""
        if self._since is None:
            return
        (began, before), after = self._since, _cpu_s(self._members)
        self.stopped_s += time.monotonic() - began
        if before is None or after is None or self.stopped_cpu_s is None:
            self.stopped_cpu_s = None
        else:
            self.stopped_cpu_s += max(0.0, after - before)  # a process that was killed takes its share with it
        self._since = None
        for process in reversed(self._members):
            _send(process, signal.SIGCONT)


def _below(process: int) -> list[int]:
    """Return every process below one, parents first: by the kernel's lists of children where it has them."""
    if not (_PROC / "self" / "task" / str(os.getpid()) / "children").exists():
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(process).children(recursive=True)]
        return []
    found = list(_children(process))
    for one in found:  # grows meanwhile
        found += _children(one)
    return found


def _children(process: int) -> Iterator[int]:
    for thread in _threads(process):
        with suppress(OSError):  # it has ended
            yield from map(int, (thread / "children").read_text(encoding="ascii").split())


def _threads(process: int) -> list[Path]:
    with suppress(OSError):
        return list((_PROC / str(process) / "task").iterdir())
    return []


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _wait_until_stopped(processes: list[int]) -> None:
    """Wait until the signal has reached every thread: one that computes takes up to a tick of the scheduler."""
    deadline = time.monotonic() + _STOPS_WITHIN_S
    left = [thread for process in processes for thread in _threads(process)]
    while (left := [thread for thread in left if not _rests(thread)]) and time.monotonic() < deadline:
        time.sleep(_LOOKS_EVERY_S)


def _rests(thread: Path) -> bool:
    try:
        return (thread / "stat").read_bytes().rpartition(b") ")[2][0] in _RESTS
    except (OSError, IndexError):  # it has ended
        return True


def _cpu_s(processes: list[int]) -> float | None:
    """Return the CPU time that processes have used, to the nanosecond, as the scheduler counts it for each thread."""
    if not (_PROC / "self" / "schedstat").exists():
        return None
    total_ns = 0
    for thread in (thread for process in processes for thread in _threads(process)):
        with suppress(OSError, ValueError, IndexError):  # it has ended
            total_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return total_ns / _NS_PER_S
