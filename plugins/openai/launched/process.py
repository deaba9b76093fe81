"""One server process: started on this machine's loopback, waited for, ended with all its children."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil

from .... import BackendError, printable

HOST = "127.0.0.1"
_POLL_S = 0.1
_ANSWER_S = 5.0
_END_S = 10.0
_TAIL_BYTES = 4096
_TAIL_LINES = 3


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A server in a process group of its own. What it prints goes where this process's errors go.

    Args:
        command: program and arguments.
        url: where it will answer.

    Raises:
        BackendError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], url: str) -> None:
        self.command, self.url = tuple(command), url
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, start_new_session=True
            )
        except OSError as error:
            raise BackendError(f"cannot start {command[0]}: {error.strerror}", code="package-missing") from error

    @property
    def pid(self) -> int:
        """Root of its process tree."""
        return self._process.pid

    def wait_until_ready(self, path: str, seconds: float) -> None:
        """Return once ``path`` answers with status 200.

        Raises:
            BackendError: it ended, or did not answer in time; gives its last output.
        """
        deadline = time.monotonic() + seconds
        opener = build_opener(ProxyHandler({}))
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise BackendError(
                    f"{self.command[0]} did not answer at {path} within {seconds:g} s{_last_output()}", code="no-answer"
                )
            with suppress(URLError, OSError, ValueError):
                with opener.open(self.url + path, timeout=_ANSWER_S) as answer:
                    if answer.status == 200:
                        return
            time.sleep(_POLL_S)
        code = self._process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise BackendError(f"{self.command[0]} ended with {how} before it answered at {path}{_last_output()}")

    def end(self) -> None:
        """End it and everything that it started."""
        family = self._family()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=_END_S)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.pid)
            return [*root.children(recursive=True), root]
        except psutil.Error:
            return []


def _last_output() -> str:
    """Return the end of what was printed, where that goes to a file which can be read."""
    try:
        if not stat.S_ISREG(os.fstat(2).st_mode):
            return ""
        with open("/proc/self/fd/2", "rb") as printed:
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = printed.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [printable(line.strip()) for line in lines if line.strip()][-_TAIL_LINES:]
    return f"; last output: {' | '.join(told)}" if told else ""
