"""A worker at its job, heard in pieces: the parent's end of the worker protocol."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL
from typing import IO

from ...contract.launcher import OnLine, Outcome
from ...errors import BackendError, CrashError, DecodebenchError, OutOfMemoryError
from ...files import size_text
from ...isolation import worker_part
from ...isolation.processes.channel import Channel, DeadlineError
from ...isolation.processes.engine_text import engine_text_file, last_lines
from ...isolation.processes.family import Family
from ...isolation.processes.messages import Finish, message, parse
from ...records.log_content import LineError
from ...sdk.cores import THREADS_VARIABLE, cores
from ..job import Job
from .report import TIME_IS_UP

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

WORKER = "decodebench.core.measure.worker"


def run_worker(
    job: Job,
    *,
    engine_text: Path | None,
    timeout_s: float,
    on_line: OnLine,
    on_wait: Callable[[], None] | None = None,
    module: str = WORKER,
) -> Outcome:
    """Run one job in a fresh process on this machine.

    Args:
        job: what to do.
        engine_text: file that takes what the engine prints, see ``engine_text``; None drops it.
        timeout_s: the process is killed after so many seconds.
        on_line: called with each line the worker sends, ``finish`` left out; raises ``LineError`` to refuse one.
        on_wait: called whenever the worker waits before a batch; it goes on once this returns.
        module: what the process runs; it speaks the worker's protocol.

    Returns:
        How it ended, whatever it sent and however it ended.

    Raises:
        KeyboardInterrupt: passed on after the worker was killed.
        OSError: from ``on_line`` (such as a full disk), after the worker was killed.
    """
    with Conversation(job, on_line, timeout_s, engine_text, module) as worker:
        while (outcome := worker.proceed()) is None:
            if on_wait is not None:
                on_wait()
        return outcome


class Conversation:
    """A worker at its job, which goes on from one wait to the next; a context manager that ends it.

    Args:
        job: what to do.
        on_line: see ``run_worker``.
        timeout_s: it is killed once it has gone on for so many seconds; while it waits, none pass.
        engine_text: see ``run_worker``.
        module: likewise.
        ends_at: it is killed at this time of ``time.monotonic`` whatever it has done; None: at none.

    Attributes:
        outcome: how it ended; None before.
        active_s: seconds that it has gone on for.
    """

    def __init__(
        self,
        job: Job,
        on_line: OnLine,
        timeout_s: float,
        engine_text: Path | None = None,
        module: str = WORKER,
        ends_at: float | None = None,
    ) -> None:
        self._job, self._on_line, self._timeout_s, self._engine_text = job, on_line, timeout_s, engine_text
        self._open = ExitStack()
        self._channel: Channel | None = None
        self._module, self._ends_at = module, ends_at
        self.outcome: Outcome | None = None
        self.active_s = 0.0

    @property
    def family(self) -> Family | None:
        """Its processes; None before they were started, and where they cannot be."""
        return None if self._channel is None else self._channel.family

    def proceed(self) -> Outcome | None:
        """Start the worker or let it go on; return how it ended, or None once it waits before a batch.

        Raises:
            OSError: from ``on_line``.
        """
        start = time.monotonic()
        try:
            if self._channel is None:
                self._channel = self._start()
                self._channel.send(self._job.model_dump_json().encode())
            else:
                self._channel.family.go_on()
                self._channel.send(b"")
            own = start + self._timeout_s - self.active_s
            self.outcome = self._listen(self._channel, own if self._ends_at is None else min(own, self._ends_at))
        except _NoProcessError as error:
            self.outcome = Outcome("failed", str(error), code=BackendError.code)
        finally:
            self.active_s += time.monotonic() - start
        return self.outcome

    def pause(self) -> None:
        """Stop it with everything that it has started until it is to proceed: threads of engines spin otherwise."""
        if self._channel is not None and self.outcome is None:
            self._channel.family.stop()

    def _start(self) -> Channel:
        text = self._open.enter_context(engine_text_file(self._engine_text)) if self._engine_text else DEVNULL
        try:
            channel = start(self._job, self._module, text)
        except OSError as error:
            raise _NoProcessError(f"no process can be started: {error.strerror}") from error
        self._open.callback(channel.end)
        return channel

    def _listen(self, channel: Channel, deadline: float) -> Outcome | None:
        name = self._job.backend
        try:
            while (raw := channel.next_line(deadline)) is not None:
                line = parse(raw)
                if line["type"] == "finish":
                    finish = message(Finish, line)
                    return Outcome(finish.status, finish.reason, finish.peak_rss_bytes, code=finish.code)
                if line["type"] == "ready":
                    return None
                self._on_line(line)
        except DeadlineError:
            if self._ends_at is not None and deadline == self._ends_at:
                return Outcome("timeout", TIME_IS_UP, code="timed-out")
            return Outcome("timeout", f"stopped after the time-out of {self._timeout_s:g} s", code="timed-out")
        except LineError as error:
            return Outcome("failed", f"backend {name!r} sent {error}", code="contract-broken")
        ended = channel.exit_code()
        return Outcome("crashed", death(ended, self._job, self._engine_text), code=code_of_death(ended))

    def end(self) -> None:
        """End the worker with everything that it has started; once is enough."""
        self._open.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class _NoProcessError(DecodebenchError):
    """The system has no process to give."""


def start(job: Job, module: str, engine_text: IO[bytes] | int) -> Channel:
    """Start the process that is to do a job; raises ``OSError`` where the system has none to give."""
    return Channel([str(job.python or sys.executable), "-m", module], _environment(job), engine_text)


def death(code: int | None, job: Job, engine_text: Path | None) -> str:
    """Say how a worker died, with what it was limited to and the last that its engine printed."""
    if code is None:
        text = "the process closed its pipe before it was done"
    elif code < 0:
        text = f"the process died of {_signal_name(-code)}"
        if code == -signal.SIGKILL:
            text += ", probably out of memory (OOM-killed)"
    else:
        text = f"the process ended by itself with exit code {code}"
    if job.memory_limit_bytes is not None:
        text += f"; its memory was limited to {size_text(job.memory_limit_bytes)}"
    last = last_lines(engine_text, 1)
    return text + (f"; last engine output: {last[0]}" if last else "")


def code_of_death(code: int | None) -> str:
    """Return the stable code of how a worker died; SIGKILL is most probably the system's, out of memory."""
    return OutOfMemoryError.code if code == -signal.SIGKILL else CrashError.code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _environment(job: Job) -> Mapping[str, str]:
    """Return the worker's environment: the same thread count for every engine, and no network while measuring."""
    default = job.default_threads or cores()
    fixed = dict.fromkeys(_THREAD_VARIABLES, str(job.n_threads or default))
    fixed[THREADS_VARIABLE] = str(default)
    own = worker_part.environment(Path(job.python)) if job.python else os.environ
    return {**own, **fixed, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
