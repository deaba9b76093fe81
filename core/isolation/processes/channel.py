"""The pipes to one worker: whole lines come in, jobs go out, and nothing waits beyond a deadline.

Reading takes time in proportion to what is sent, however it is cut into pieces.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from .... import defaults
from ...errors import DecodebenchError
from ...files import size_text
from ...records.log_content import LineError
from .family import Family

_KEEPER = str(Path(__file__).with_name("keeper.py"))
_PIECE_BYTES = 2**16
_LOOK_S = 1.0  # until the process is looked at, where something else may hold its pipe open
_END_GRACE_S = 5.0


class DeadlineError(DecodebenchError):
    """A worker has not done what was waited for in time."""

    code = "no-answer"


class Channel:
    """A running worker and both ends of its pipes.

    Args:
        command: what to run.
        environment: of the process.
        errors: takes what it prints.

    Attributes:
        family: the worker with everything that it has started.

    Raises:
        OSError: the system has no process to give.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], errors: IO[bytes] | int) -> None:
        theirs, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _KEEPER, str(theirs), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                pass_fds=(theirs,),
                start_new_session=True,  # the terminal's Ctrl-C goes to the parent alone, which decides
                bufsize=0,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        self.family = Family(self._process.pid)
        self._has_ended = False
        self._unsent = bytearray()
        self._part = bytearray()  # of a line
        self._lines: deque[bytes] = deque()
        self._last_look: float | None = None  # the deadline after which the pipe was read once more
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def send(self, line: bytes) -> None:
        """Send a line, now or while the next one is waited for; a worker that has died gets nothing."""
        if not self._unsent:
            self._selector.register(self._input, selectors.EVENT_WRITE)
        self._unsent += line + b"\n"

    def next_line(self, deadline: float) -> bytes | None:
        """Return the next line without its end; None once the worker can send no more.

        What was there when the deadline passed is handed out first, and read from the pipe once more.

        Args:
            deadline: on the monotonic clock, in seconds.

        Raises:
            DeadlineError: it has passed, whether or not lines keep coming.
            LineError: a line is longer than ``defaults.WORKER_LINE_BYTES``.
        """
        while not self._lines:
            if time.monotonic() > deadline:
                if self._last_look == deadline:  # only once: a flood of lines would have no end
                    raise DeadlineError("the deadline has passed")
                self._last_look = deadline
            if not self._exchange(deadline) and not self._lines:
                return None
        return self._lines.popleft()

    def _exchange(self, deadline: float) -> bool:
        """Read and write what can be; return whether more may come."""
        left = max(0.0, deadline - time.monotonic())
        # What the process left behind may hold its pipe open; when it has ended, what there is can be read at once.
        has_ended = self._process.poll() is not None
        ready = {key.fileobj for key, _ in self._selector.select(0 if has_ended else min(left, _LOOK_S))}
        if self._input in ready:
            self._write()
        if self._output in ready:
            piece = os.read(self._output.fileno(), _PIECE_BYTES)
            self._take(piece)
            return bool(piece)
        return not has_ended

    def _write(self) -> None:
        try:
            written = os.write(self._input.fileno(), self._unsent[:_PIECE_BYTES])
        except BlockingIOError:
            return
        except BrokenPipeError:  # it died before it listened; the end of its output says so
            written = len(self._unsent)
        del self._unsent[:written]
        if not self._unsent:
            self._selector.unregister(self._input)

    def _take(self, piece: bytes) -> None:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._lines.append(bytes(self._part + end))
            self._part.clear()
        self._part += rest
        if len(self._part) > defaults.WORKER_LINE_BYTES:
            raise LineError(f"a line of more than {size_text(defaults.WORKER_LINE_BYTES)}")

    def exit_code(self) -> int | None:
        """Return how the worker ended, as ``subprocess`` does; None where it lives on, even if nothing more comes."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END_GRACE_S)
        return None

    def end(self) -> None:
        """End the worker with everything that it has started; once is enough."""
        if self._has_ended:
            return
        self._has_ended = True
        os.close(self._lifeline)
        if self.exit_code() in (None, -signal.SIGKILL):  # the keeper is stuck, or was killed itself
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.exit_code()
        self._selector.close()
        self._input.close()
        self._output.close()
