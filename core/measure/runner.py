"""The runner: executes a matrix round by round, each in a worker process, and writes one raw log per round."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic import JsonValue

from ... import defaults
from ..cache import ModelCache, sweep
from ..contract.launcher import Launcher, OnLine, Outcome
from ..contract.model import PreparedModel
from ..errors import BackendError, DecodebenchError
from ..foreign_text import path_part
from ..host.availability import availability
from ..host.packed_models import ModelJob, PreparedJob
from ..host.registry import Registry
from ..isolation.processes.messages import Prepared
from ..records.log_content import LineError
from ..records.schema import Environment
from ..sdk.models import model_bytes
from .cells import Cell, Matrix, job_fields, schedule, takes_default_threads, workload_identity
from .folder import finish_parts, finished_rounds, latest_name, locked, next_name, stored_threads, writable
from .job import ContinuationJob, Job
from .launcher import launch_of, launcher_of, request
from .machine.condition import look
from .machine.cpu_load import CpuWatch
from .machine.device_monitor import ELSEWHERE, DeviceMonitor
from .machine.environment import capture
from .machine.threads import threads_beside
from .machine.waiting import WhenBusy, settle
from .plan import Plan
from .progress import Progress
from .prompts import Prompts
from .round_log import Listener, Round, RoundLog, beside, head, peak_of

_LINE_BYTES = 400  # a step line with its text, generously
_BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to go on adding rounds.

    Attributes:
        seconds: no further round of the matrix begins when it would end later than this; None: no limit.
        min_rounds: so many rounds run whatever the time.
    """

    seconds: float | None = None
    min_rounds: int = 1


@dataclass(slots=True)
class RunReport:
    """What a run did.

    Attributes:
        experiment: name under which the rounds are stored.
        done: rounds finished now.
        kept: rounds that were there already.
        failed: (cell label, round, status, reason) of each round that did not finish.
        interrupted: whether Ctrl-C ended it.
        stopped: why it ended early, such as a full disk; None when it did not.
    """

    experiment: str
    done: int = 0
    kept: int = 0
    failed: list[tuple[str, int, str, str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: str | None = None


@dataclass(slots=True)
class _Prepared:
    model: PreparedModel | None
    seconds: float | None
    reason: str | None = None


class Runner:
    """Executes one plan into one output folder.

    Args:
        plan: the experiment.
        matrix: its cells.
        registry: the plugins.
        cache: prepared models.
        output: the output folder.
        progress: told what happens; shows it.

    Raises:
        UsageError: the plan's launcher is unknown, or cannot be used here.
    """

    def __init__(
        self, plan: Plan, matrix: Matrix, registry: Registry, cache: ModelCache, output: Path, progress: Progress
    ) -> None:
        self.plan, self.matrix, self.registry = plan, matrix, registry
        self.cache, self.output, self.progress = cache, output, progress
        self.prompts = Prompts.of(plan, registry, matrix.cells)
        self.launcher: Launcher = launcher_of(plan.launcher, registry)()
        self._prepared: dict[str, _Prepared] = {}
        self._environment: Environment | None = None
        self._threads: int | None = None  # of engines that are not told a number
        self._order = 0

    def run(self, *, fresh: bool = False, budget: Budget = Budget(), when_busy: WhenBusy | None = None) -> RunReport:
        """Run what is missing of the matrix.

        Args:
            fresh: begin a new experiment instead of completing the one of the same name.
            budget: how long to go on adding rounds.
            when_busy: what to do where other work disturbs the machine.

        Raises:
            UsageError: the folder cannot be written to, or another run is writing to it.
            BusyError: other work disturbs the machine, and that is to be refused.
        """
        writable(self.output)
        with locked(self.output):
            name = self.plan.name or default_name(self.plan, self.registry)
            experiment = next_name(self.output, name) if fresh else latest_name(self.output, name)
            report = RunReport(experiment)
            finish_parts(self.output)
            complete = finished_rounds(self.output, experiment)
            wanted = {(cell.id, index) for cell in self.matrix.cells for index in range(self.plan.rounds)}
            report.kept = len(wanted & complete)
            with self.progress:
                try:
                    if report.kept < len(wanted):
                        self._settle(experiment, when_busy or WhenBusy())
                    self._rounds(report, complete, budget)
                except KeyboardInterrupt:
                    report.interrupted = True
                except OSError as error:
                    report.stopped = f"cannot write the log of {report.experiment} in {self.output}: {error.strerror}"
            return report

    def _settle(self, experiment: str, when_busy: WhenBusy) -> None:
        """Look at the machine before anything is measured, and decide how many threads engines get."""
        if not self.launcher.is_here:
            self._environment = self.launcher.environment()
            stored = stored_threads(self.output, experiment, self._environment.hostname)
            self._threads = stored or self._environment.cores_used
            self._environment = self._environment.model_copy(update={"default_threads": self._threads})
            return
        devices = [cell.device for cell in self.matrix.cells]
        condition = settle(lambda: look(devices), when_busy, self.progress.say)
        machine = capture(anonymise=self.plan.anonymise, is_quiet=not condition.passing)
        stored = stored_threads(self.output, experiment, machine.hostname)
        self._threads = stored or threads_beside(condition)
        self._environment = machine.model_copy(update={"default_threads": self._threads})
        if self._threads != condition.cores and any(takes_default_threads(cell) for cell in self.matrix.cells):
            why = "as in the rounds that are there already" if stored else "this leaves room for what else runs"
            counts = f"threads of each engine: {self._threads}, cores: {condition.cores}"
            self.progress.say(f"{counts}; {why}, in every round of {experiment!r}")

    def _rounds(self, report: RunReport, complete: set[tuple[str, int]], budget: Budget) -> None:
        for cell in self.matrix.cells:
            if any((cell.id, index) not in complete for index in range(self.plan.rounds)):
                self.prepared(cell)
        certain = self._missing(complete, min(budget.min_rounds, self.plan.rounds))
        self.progress.begin(self._missing(complete, self.plan.rounds), report.kept, budget.seconds, certain)
        start, longest = time.monotonic(), 0.0
        for index in range(self.plan.rounds):
            began = time.monotonic()
            spent = began - start
            if index >= budget.min_rounds and budget.seconds is not None and spent + longest > budget.seconds:
                return
            for cell in schedule(self.matrix.cells, index, self.plan.seed):
                self._order += 1
                if (cell.id, index) not in complete:
                    self._one(report, cell, index)
            longest = max(longest, time.monotonic() - began)

    def _missing(self, complete: set[tuple[str, int]], rounds: int) -> dict[str, int]:
        """Count the rounds of each cell, by its label, that are not there among the first ``rounds``."""
        return {
            self.matrix.labels[cell.id]: sum((cell.id, index) not in complete for index in range(rounds))
            for cell in self.matrix.cells
        }

    def _one(self, report: RunReport, cell: Cell, index: int) -> None:
        label = self.matrix.labels[cell.id]
        self.progress.round_begins(label, index, len(self.prompts.jobs_of(cell)), self.plan.timeout_s)
        outcome, engine_text = self._round(report.experiment, cell, index)
        if outcome.status == "ok":
            report.done += 1
        else:
            report.failed.append((label, index, outcome.status, outcome.reason or ""))
        self.progress.round_ends(outcome.status, outcome.reason, engine_text)

    def prepared(self, cell: Cell) -> _Prepared:
        """Convert or quantise the cell's model in a throw-away process, once; a failure is kept as its reason."""
        key = f"{cell.backend.name}\0{cell.model.content_hash}\0{cell.quantisation}\0{cell.device}\0{cell.options}"
        if key not in self._prepared:
            self._prepared[key] = self._prepare(cell)
        return self._prepared[key]

    def _prepare(self, cell: Cell) -> _Prepared:
        available = availability(cell.backend)
        if self.launcher.is_here and not available.available:
            return _Prepared(None, None, f"{available.reason}; {available.fix}" if available.fix else available.reason)
        self.progress.preparing(self.matrix.labels[cell.id])
        try:
            answer = request(self._job(cell, "prepare"), Prepared, self.plan.timeout_s, self.launcher.run)
        except BackendError as error:
            return _Prepared(None, None, f"cannot prepare the model: {error}")
        finally:
            sweep(self.cache.root)
        for notice in answer.notices:
            self.progress.say(notice)
        return _Prepared(answer.model.unpack(), answer.prepare_s)

    def _round(self, experiment: str, cell: Cell, index: int) -> tuple[Outcome, Path]:
        """Execute a round; return how it ended, and where what its engine printed is kept."""
        prepared = self.prepared(cell)
        assert self._environment is not None
        place = self.matrix.cells.index(cell)
        now = Round(
            str(uuid.uuid4()), experiment, cell, index, self._order - 1, place, prepared.seconds, type(self.launcher)
        )
        log = RoundLog(now.path(self.output, self._environment, self.plan.seed))
        with log:
            log.add("run", head(now, self.plan, self.prompts, self.registry, self._environment))
            watch = CpuWatch()
            listener = Listener(log, self.progress)
            with DeviceMonitor(cell.device if self.launcher.is_here else ELSEWHERE) as monitor:
                outcome, wall_s = self._execute(log, listener, cell, prepared)
            end: dict[str, JsonValue] = {"status": outcome.status, "reason": outcome.reason, "wall_s": wall_s}
            end |= {"peak_rss_bytes": peak_of(cell, outcome, listener), **monitor.figures()}
            if self.launcher.is_here:
                end["other_cpus"] = watch.other_cpus()
            if listener.sessions:
                end["sessions"] = [session.model_dump(mode="json") for session in listener.sessions]
            if listener.device_peak_bytes is not None:  # the engine's own count leaves other processes out
                end["peak_device_bytes"] = listener.device_peak_bytes
            try:
                log.add("end", end)
            except LineError as error:
                status = "failed" if outcome.status == "ok" else outcome.status
                outcome = Outcome(status, f"figures of the round: {error}")
                log.add("end", {"status": outcome.status, "reason": outcome.reason})
            log.close()
        if outcome.status == "interrupted":
            raise KeyboardInterrupt
        return outcome, beside(log.path, ".engine.txt")

    def _execute(self, log: RoundLog, listener: Listener, cell: Cell, prepared: _Prepared) -> tuple[Outcome, float]:
        start = time.monotonic()
        if prepared.reason is not None:
            return Outcome("failed", prepared.reason), time.monotonic() - start
        shortage = self._shortage(cell, prepared)
        if shortage is not None:
            return Outcome("skipped", shortage), time.monotonic() - start
        job = self._job(cell, "measure", prepared.model)
        engine_text = beside(log.path, ".engine.txt")
        try:
            outcome = self.run_job(job, listener.take, engine_text)
        except KeyboardInterrupt:
            outcome = Outcome("interrupted", "interrupted by the user")
        wall_s = time.monotonic() - start
        if outcome.status == "ok" and log.content.samples != len(job.prompts):
            outcome = Outcome("failed", f"{log.content.samples} samples came of the {len(job.prompts)} asked for")
        try:
            self._score(log, listener)
        except KeyboardInterrupt:
            outcome = Outcome("interrupted", "interrupted by the user while answers were scored")
        except DecodebenchError as error:
            if outcome.status == "ok":
                outcome = Outcome("failed", f"answers were not scored: {error}")
        return outcome, wall_s

    def _score(self, log: RoundLog, listener: Listener) -> None:
        """Score the answers; this waits for the worker's end, so that nothing runs beside the measurement."""
        for number, line in enumerate(self.prompts.scores(listener.answers), start=1):
            log.add("score", line)
            self.progress.scored(number, len(listener.answers))
        for line in self.prompts.choice_scores(listener.likelihoods):
            log.add("score", line)

    def _shortage(self, cell: Cell, prepared: _Prepared) -> str | None:
        """Say what is too scarce for the round; None where memory and disk suffice."""
        assert prepared.model is not None
        weights = prepared.model.weight_bytes or model_bytes(cell.model)
        needed = int(weights * defaults.MEMORY_HEADROOM)
        memory = psutil.virtual_memory().available
        limit = self.plan.memory_limit_bytes
        is_here = self.launcher.is_here and cell.backend.residence != "remote"
        if is_here and cell.device == "cpu" and needed > min(memory, limit or memory):
            what = "is allowed" if limit is not None and limit < memory else "is free"
            have = min(memory, limit or memory) / _BYTES_PER_MIB
            return f"too little memory: about {needed / _BYTES_PER_MIB:.0f} MiB needed, {have:.0f} MiB {what}"
        workload = cell.workload
        log_bytes = (workload.measured + workload.warmup) * (workload.token_limit + 4) * _LINE_BYTES
        free = shutil.disk_usage(self.output).free
        if log_bytes > free:
            return (
                f"too little disk in {self.output}: about {log_bytes / _BYTES_PER_MIB:.1f} MiB needed for the log, "
                f"{free / _BYTES_PER_MIB:.1f} MiB free"
            )
        return None

    def run_job(self, job: Job, on_line: OnLine, engine_text: Path | None = None) -> Outcome:
        """Run a job in a worker of its own, see ``Launcher.run``."""
        return self.launcher.run(launch_of(job, self.plan.timeout_s, engine_text), on_line)

    def _job(self, cell: Cell, action: Any, prepared: PreparedModel | None = None) -> Job:  # noqa: ANN401 - literal
        return Job(
            action=action,
            **job_fields(cell, self.registry),
            model=ModelJob.of(cell.model) if prepared is None else None,
            prepared=None if prepared is None else PreparedJob.of(prepared),
            cache_root=self.cache.root,
            memory_limit_bytes=self.plan.memory_limit_bytes if action == "measure" else None,
            default_threads=self._threads,
            prompts=self.prompts.jobs_of(cell) if action == "measure" else (),
            workload=cell.workload,
            seed=self.plan.seed,
        )

    def scoring_job(self, cell: Cell, continuations: tuple[ContinuationJob, ...]) -> Job:
        """Return the job that scores the last id of each continuation with the cell's backend."""
        prepared = self.prepared(cell)
        return self._job(cell, "score", prepared.model).model_copy(update={"continuations": continuations, "top_k": 2})


def default_name(plan: Plan, registry: Registry) -> str:
    """Name an experiment after its workload: what is measured alike belongs together, whenever it was measured."""
    models = sorted({name for spec in plan.cells for name in (spec.model or plan.workload.model or [])})
    identity = json.dumps([workload_identity(plan, registry), models], sort_keys=True)
    return f"{path_part(plan.workload.task or 'fixed')}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def describe_failures(failed: Sequence[tuple[str, int, str, str]]) -> list[str]:
    """Word each failed round in one line."""
    return [f"{label}, round {index + 1}: {status}: {reason}" for label, index, status, reason in failed]
