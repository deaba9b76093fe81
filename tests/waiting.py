"""Waiting for what other processes do: each wait ends with what it waits for, or fails at its deadline."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

LOOK_S = 0.02


def until(condition: Callable[[], object], process: subprocess.Popen, seconds: float = 60) -> None:
    """Wait until ``condition`` holds, which ``process`` brings about; fail when it ends without."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
            assert condition(), process.communicate()


def still_alive(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait for processes, whoever's children they are, to end; return those that have not (Linux)."""
    alive = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            alive[os.pidfd_open(pid)] = pid
    deadline = time.monotonic() + seconds
    waiting = list(alive)
    while waiting and (left := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(waiting, (), (), left)
        waiting = [one for one in waiting if one not in ended]
    for one in alive:
        os.close(one)
    return [alive[one] for one in waiting]


class Gate:
    """Where each step of the faulty backend waits until it is let through; all are once the gate is left.

    Attributes:
        environment: for the process whose backend is to wait.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        self.environment = {"FAULTY_GATE": str(self.path)}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._server.settimeout(60)
        self._held: socket.socket | None = None

    def hold(self) -> None:
        """Wait for the next step and keep it; the one before goes on."""
        before, self._held = self._held, None
        if before is not None:
            before.close()
        self._held, _ = self._server.accept()

    def hold_when(self, condition: Callable[[], object]) -> None:
        """Let steps through until ``condition`` holds, and keep the one that comes then."""
        self.hold()
        while not condition():
            self.hold()

    def open(self) -> None:
        """Let every step through from now on."""
        self.path.unlink(missing_ok=True)
        self._server.close()
        if self._held is not None:
            self._held.close()
