"""Running jobs: by a launcher, for an answer, or as a conversation that goes on until it is closed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..contract.launcher import Launch, Launcher, Line, Need, OnLine, Outcome, Place
from ..errors import BackendError, UsageError
from ..host.availability import availability
from ..host.registry import Registry
from ..isolation.processes.channel import DeadlineError
from ..isolation.processes.messages import Answer, Finish, Serving, kind_of, message, parse
from ..records.log_content import LineError
from ..records.schema import Record
from ..records.serving import ServeRequest
from .job import AnyJob, Job, PrepareJob, ServeJob, read_job
from .rounds.conversation import WORKER, code_of_death, death, run_worker, start

Run = Callable[[Launch, OnLine], Outcome]
"""How a worker is run: ``Launcher.run``, or ``run_here``."""

M = TypeVar("M", bound=Record)

LAUNCHES = 3
"""How often a worker is launched at most whose machine is lost each time."""


def launch_of(job: Job, timeout_s: float, engine_text: Path | None = None, place: Place | None = None) -> Launch:
    """Return what a launcher is given to run a job; see ``Launch``."""
    return Launch(
        job=job.model_dump_json(),
        need=Need(job.device, job.backend),
        is_preparation=isinstance(job, PrepareJob),
        threads=job.n_threads or job.default_threads,
        timeout_s=timeout_s,
        engine_text=engine_text,
        place=place,
    )


def launcher_of(name: str, registry: Registry) -> type[Launcher]:
    """Return the launcher of a name.

    Raises:
        UsageError: it is unknown, or cannot be used here; says what makes it usable.
    """
    found = registry.launcher(name)
    available = availability(found)
    if not available.available:
        fix = f": {available.fix}" if available.fix else ""
        raise UsageError(f"launcher {name!r} cannot be used here: {available.reason}{fix}", code="no-engine")
    return found


def run_here(launch: Launch, on_line: OnLine, on_wait: Callable[[], None] | None = None) -> Outcome:
    """Run a worker on this machine; launchers that reach another machine call it there.

    Args:
        launch: see ``Launcher.run``.
        on_line: likewise.
        on_wait: called whenever the worker waits and its lines so far are taken; it continues once this returns, so
            lines can be sent elsewhere in bulk, outside any measurement.
    """
    job, text = read_job(launch.job), launch.engine_text
    return run_worker(job, engine_text=text, timeout_s=launch.timeout_s, on_line=on_line, on_wait=on_wait)


def request(job: AnyJob, kind: type[M], timeout_s: float, run: Run = run_here) -> M:
    """Run a job that answers with one line and return that line.

    Args:
        job: what to do.
        kind: of the answer; lines of other types are not looked at.
        timeout_s: the process is killed after so many seconds.
        run: runs the worker.

    Raises:
        BackendError: the worker failed, crashed or took too long; the text is its reason.
    """
    answers = request_all(job, kind, timeout_s, run)
    if not answers:
        raise BackendError(f"backend {job.backend!r} gave no answer to {job.action!r}", code="no-answer")
    return answers[0]


def request_all(job: AnyJob, kind: type[M], timeout_s: float, run: Run = run_here) -> list[M]:
    """Like ``request``, for jobs that answer with any number of lines."""
    answers: list[M] = []

    def take(line: Line) -> None:
        if line["type"] == kind_of(kind):
            answers.append(message(kind, line))

    for _ in range(LAUNCHES):
        answers.clear()
        outcome = run(launch_of(job, timeout_s), take)
        if not outcome.is_lost:
            break
    if outcome.status != "ok":
        raise BackendError(outcome.reason or outcome.status, code=outcome.code)
    return answers


class Served:
    """A backend in a process of its own that answers requests until it is closed; a context manager.

    Args:
        job: what to serve.
        timeout_s: of loading, and of each answer.

    Attributes:
        context_length: of the model, in tokens.
        clipped: prompts so far that lost their beginning, since the context holds no more.

    Raises:
        BackendError: the model cannot be loaded, or loading took too long.
    """

    def __init__(self, job: ServeJob, timeout_s: float) -> None:
        self._job, self._timeout_s = job, timeout_s
        self.clipped = 0
        self._engine_text = tempfile.NamedTemporaryFile(prefix="decodebench-", suffix=".engine.txt")
        try:
            self._channel = start(job, WORKER, self._engine_text)
        except OSError as error:
            self._engine_text.close()
            raise BackendError(f"no process can be started: {error.strerror}") from error
        try:
            self._channel.send(job.model_dump_json().encode())
            self.context_length = self._next(Serving).context_length
        except BaseException:
            self.close()
            raise

    def ask(self, asked: ServeRequest) -> list[Any]:
        """Return the answers to one request.

        Raises:
            BackendError: the request failed, took too long, or the process died of it; says which.
        """
        self._channel.send(asked.model_dump_json().encode())
        answer = self._next(Answer)
        if answer.error is not None:
            raise BackendError(answer.error, code=answer.code)
        self.clipped += answer.clipped
        return answer.values

    def _next(self, kind: type[M]) -> M:
        """Wait for the next line of a kind."""
        deadline = time.monotonic() + self._timeout_s
        try:
            while (raw := self._channel.next_line(deadline)) is not None:
                line = parse(raw)
                if line["type"] == "finish":
                    finish = message(Finish, line)
                    raise BackendError(finish.reason or "the worker ended", code=finish.code)
                if line["type"] == kind_of(kind):
                    return message(kind, line)
        except DeadlineError as error:
            late = f"no answer from backend {self._job.backend!r} within {self._timeout_s:g} s"
            raise BackendError(late, code="no-answer") from error
        except LineError as error:
            raise BackendError(f"backend {self._job.backend!r} sent {error}", code="contract-broken") from error
        self._engine_text.flush()
        ended = self._channel.exit_code()
        raise BackendError(death(ended, self._job, Path(self._engine_text.name)), code=code_of_death(ended))

    def close(self) -> None:
        """End the process."""
        self._channel.end()
        self._engine_text.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
