"""One server process: started on this machine's loopback, waited for, ended with all its children."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

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
        key: the API key that it asks for, which what it prints may not keep.

    Raises:
        BackendError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], url: str, key: str | None = None) -> None:
        self.command, self.url, self._key = tuple(command), url, key
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

        Args:
            path: what is asked for.
            seconds: longest wait.

        Raises:
            BackendError: it ended, denies access, or did not answer in time; gives its last output.
        """
        deadline, key = time.monotonic() + seconds, self._key
        asked = Request(self.url + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        opener = build_opener(ProxyHandler({}))
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise BackendError(
                    f"{self.command[0]} did not answer at {path} within {seconds:g} s{_last_output(key)}",
                    code="no-answer",
                )
            if _answers(opener, asked):
                return
            time.sleep(_POLL_S)
        code = self._process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise BackendError(f"{self.command[0]} ended with {how} before it answered at {path}{_last_output(key)}")

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
        if self._key is not None:
            _hide_printed(self._key.encode())

    def _family(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.pid)
            return [*root.children(recursive=True), root]
        except psutil.Error:
            return []


def _answers(opener: OpenerDirector, asked: Request) -> bool:
    """Return whether a request is answered with status 200.

    Raises:
        BackendError: access is denied, which waiting does not change.
    """
    try:
        with opener.open(asked, timeout=_ANSWER_S) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        if error.code in (401, 403):
            raise BackendError(
                f"{asked.full_url} denies access (HTTP {error.code}): name the variable with its key in api_key_env",
                code="missing-flag",
            ) from error
    except (HTTPException, OSError, ValueError):
        pass  # not there yet, or what answers speaks no HTTP
    return False


def _hide_printed(key: bytes) -> None:
    """Overwrite a key in what was printed, where that goes to a file which can be changed."""
    with suppress(OSError, ValueError), open("/proc/self/fd/2", "r+b") as printed:  # ValueError: it is empty
        with mmap.mmap(printed.fileno(), 0) as content:
            at = content.find(key)
            while at >= 0:
                content[at : at + len(key)] = b"*" * len(key)
                at = content.find(key, at)


def _last_output(key: str | None) -> str:
    """Return the end of what was printed, without the key, where that goes to a file which can be read."""
    try:
        if not stat.S_ISREG(os.fstat(2).st_mode):
            return ""
        with open("/proc/self/fd/2", "rb") as printed:
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = printed.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    lines = [line.replace(key, "***") for line in lines] if key else lines
    told = [printable(line.strip()) for line in lines if line.strip()][-_TAIL_LINES:]
    return f"; last output: {' | '.join(told)}" if told else ""
