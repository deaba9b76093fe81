"""Starting worker processes and listening to them: the parent's end of the worker protocol."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import BackendError
from ..isolation import worker_part
from ..records.schema import Status
from ..records.serving import ServeRequest
from ..sdk.cores import cores
from .engine_text import engine_text_file
from .job import Job

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_KILL_GRACE_S = 5.0

WORKER = "decodebench.core.measure.worker"

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended.

    Attributes:
        status: ``ok``, ``failed`` (it said why), ``crashed`` (it died) or ``timeout`` (it was stopped).
        reason: one sentence, None when ok.
        peak_rss_bytes: its own account of its memory, where it lived to give one.
    """

    status: Status
    reason: str | None = None
    peak_rss_bytes: int | None = None


def run_worker(
    job: Job,
    *,
    engine_text: Path | None,
    timeout_s: float,
    on_line: Callable[[Line], None],
    module: str = WORKER,
) -> Outcome:
    """Run one job in a fresh process on this machine.

    Args:
        job: what to do.
        engine_text: file that takes what the engine prints, see ``engine_text``; None drops it.
        timeout_s: the process is killed after so many seconds.
        on_line: called with each line the worker sends, ``finish`` left out.
        module: what the process runs; it speaks the worker's protocol.

    Raises:
        KeyboardInterrupt: passed on after the worker was killed.
        OSError: from ``on_line`` (such as a full disk), after the worker was killed.
    """
    with engine_text_file(engine_text) if engine_text else nullcontext(subprocess.DEVNULL) as text:
        worker = _start(job, module, text)
        try:
            return _converse(worker, job, timeout_s, on_line, engine_text)
        finally:
            _kill(worker)


def request(job: Job, kind: str, timeout_s: float) -> Line:
    """Run a job that answers with one line of type ``kind`` and return that line.

    Raises:
        BackendError: the worker failed, crashed or took too long; the text is its reason.
    """
    answers = request_all(job, kind, timeout_s)
    if not answers:
        raise BackendError(f"backend {job.backend!r} gave no answer to {job.action!r}")
    return answers[0]


def request_all(job: Job, kind: str, timeout_s: float) -> list[Line]:
    """Like ``request``, for jobs that answer with any number of lines."""
    answers: list[Line] = []
    outcome = run_worker(job, engine_text=None, timeout_s=timeout_s, on_line=answers.append)
    if outcome.status != "ok":
        raise BackendError(outcome.reason or outcome.status)
    return [line for line in answers if line["type"] == kind]


class Served:
    """A backend in a process of its own that answers requests until it is closed; a context manager.

    Args:
        job: action ``serve``.
        timeout_s: of loading, and of each answer.

    Attributes:
        context_length: of the model, in tokens.

    Raises:
        BackendError: the model cannot be loaded, or loading took too long.
    """

    def __init__(self, job: Job, timeout_s: float) -> None:
        self._job, self._timeout_s = job, timeout_s
        self._engine_text = tempfile.NamedTemporaryFile(prefix="decodebench-", suffix=".engine.txt")
        self._worker = _start(job, WORKER, self._engine_text)
        try:
            _send(self._worker, job.model_dump_json().encode() + b"\n")
            self.context_length = int(self._next("serving")["context_length"])
        except BaseException:
            self.close()
            raise

    def ask(self, asked: ServeRequest) -> list[Any]:
        """Return the answers to one request.

        Raises:
            BackendError: the request failed, took too long, or the process died of it; says which.
        """
        _send(self._worker, asked.model_dump_json().encode() + b"\n")
        answer = self._next("answer")
        if "error" in answer:
            raise BackendError(answer["error"])
        values: list[Any] = answer["values"]
        return values

    def _next(self, kind: str) -> Line:
        """Wait for the next line of a kind; answers come one at a time, so that nothing is read too far."""
        for line in _lines(self._worker, time.monotonic() + self._timeout_s):
            if line is None:
                raise BackendError(f"no answer from backend {self._job.backend!r} within {self._timeout_s:g} s")
            if line["type"] == "finish":
                raise BackendError(line["reason"] or "the worker ended")
            if line["type"] == kind:
                return line
        self._worker.wait()
        self._engine_text.flush()
        raise BackendError(_death(self._worker.returncode, self._job, Path(self._engine_text.name)))

    def close(self) -> None:
        """End the process."""
        _kill(self._worker)
        self._engine_text.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start(job: Job, module: str, engine_text: IO[bytes] | int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(job.python or sys.executable), "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=engine_text,
        env=_environment(job),
        start_new_session=True,  # the terminal's Ctrl-C goes to the parent alone, which decides
    )


def _converse(
    worker: subprocess.Popen[bytes],
    job: Job,
    timeout_s: float,
    on_line: Callable[[Line], None],
    engine_text: Path | None,
) -> Outcome:
    deadline = time.monotonic() + timeout_s
    _send(worker, job.model_dump_json().encode() + b"\n")
    for line in _lines(worker, deadline):
        if line is None:
            return Outcome("timeout", f"stopped after the time-out of {timeout_s:g} s")
        if line["type"] == "finish":
            return Outcome(line["status"], line["reason"], line["peak_rss_bytes"])
        if line["type"] == "ready":
            _send(worker, b"\n")
        else:
            on_line(line)
    worker.wait()
    return Outcome("crashed", _death(worker.returncode, job, engine_text))


def _send(worker: subprocess.Popen[bytes], data: bytes) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(data)
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it died before it listened; the end of its output says so


def _lines(worker: subprocess.Popen[bytes], deadline: float) -> Iterator[Line | None]:
    """Yield the worker's lines until it closes its end; None once the deadline has passed."""
    assert worker.stdout is not None
    descriptor = worker.stdout.fileno()
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                yield None
                return
            chunk = os.read(descriptor, 2**16)
            if not chunk:
                return
            *whole, buffer = (buffer + chunk).split(b"\n")
            for line in whole:
                yield json.loads(line)


def _kill(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it has started."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    worker.wait(_KILL_GRACE_S)
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def _death(code: int, job: Job, engine_text: Path | None) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        text = f"the process died of {name}"
        if name == "SIGKILL":
            text += ", most likely ended by the system for want of memory"
    else:
        text = f"the process ended by itself with exit code {code}"
    if job.memory_limit_bytes is not None:
        text += f"; its memory was limited to {job.memory_limit_bytes / 2**20:.0f} MiB"
    last = _last_line(engine_text)
    return text + (f"; the engine's last words: {last}" if last else "")


def _last_line(file: Path | None) -> str:
    if file is None or not file.is_file():
        return ""
    lines = [line.strip() for line in file.read_bytes()[-4000:].decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _environment(job: Job) -> Mapping[str, str]:
    """Return the worker's environment: the same thread count for every engine, and no network while measuring."""
    threads = str(job.options.get("n_threads") or cores())
    fixed = dict.fromkeys(_THREAD_VARIABLES, threads)
    own = worker_part.environment() if job.python else os.environ
    return {**own, **fixed, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
