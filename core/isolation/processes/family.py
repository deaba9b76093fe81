"""A worker with everything that it has started: stopped and continued as one, and what it used of the CPU meanwhile."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

_PROC = Path("/proc")
_NS_PER_S = 1e9


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
        self._members: list[psutil.Process] = []
        self._since: tuple[float, float | None] | None = None
        self.stopped_s = 0.0
        self.stopped_cpu_s: float | None = 0.0

    def stop(self) -> None:
        """Stop every process of the family; what one starts before the signal reaches it is stopped as well."""
        stopped: dict[int, psutil.Process] = {}
        while new := [process for process in self._living() if process.pid not in stopped]:
            for process in new:
                _send(process, signal.SIGSTOP)
                stopped[process.pid] = process
        self._members = list(stopped.values())
        self._since = time.monotonic(), _cpu_s(self._members)

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

    def _living(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._keeper).children(recursive=True)
        except psutil.Error:
            return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:  # it has ended
        pass


def _cpu_s(processes: list[psutil.Process]) -> float | None:
    """Return the CPU time that processes have used, to the nanosecond, as the scheduler counts it for each thread."""
    total_ns = 0
    for process in processes:
        try:
            threads = list((_PROC / str(process.pid) / "task").iterdir())
        except OSError:
            if not (_PROC / "self" / "schedstat").exists():
                return None
            continue
        for thread in threads:
            try:
                total_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
            except (OSError, ValueError, IndexError):  # it has ended
                continue
    return total_ns / _NS_PER_S
