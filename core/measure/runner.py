"""The runner: executes a matrix round by round, each in a worker process, and writes one raw log per round."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ..cache import ModelCache
from ..contract.launcher import Launcher, Need, OnLine, Outcome, Place
from ..errors import BackendError, UsageError
from ..host.packed_models import PreparedJob
from ..host.registry import Registry
from ..records.schema import Environment
from .cells import Cell, Matrix, job_fields
from .job import Job, MeasureJob
from .launcher import LAUNCHES, launch_of, launcher_of
from .local_launcher import LocalLauncher
from .machine.waiting import WhenBusy
from .machine.watched import Watched
from .output import folder
from .output.round_index import RoundIndex
from .output.shard import Shard
from .plan import Plan
from .progress import Progress
from .prompts import Prompts, occasion_of
from .round_log import Round, RoundLog, head
from .rounds.arrangement import Arrangement
from .rounds.block import measure_block
from .rounds.machines import Machines
from .rounds.preparation import Preparation, PreparedCell
from .rounds.report import FIRST_LOOK, TIME_IS_UP, Budget, Look, RunReport
from .rounds.round_run import INTERRUPTED, RoundRun
from .rounds.spread import Steps, spread
from .servers.sessions import ServerSessions


class Runner:
    """Executes one plan into one output folder.

    Args:
        plan: the experiment.
        matrix: its cells.
        registry: the plugins.
        cache: prepared models.
        output: the output folder.
        progress: told what happens; shows it.

    Attributes:
        began: when the first round did, on the clock of ``time.monotonic``; None before.

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
        self.launcher.address, self.launcher.placement_timeout_s = plan.address, plan.placement_timeout_s
        self._why_alone = self._reason_to_be_alone()
        if plan.interleave == "samples" and self._why_alone is not None:
            raise UsageError(f"--interleave samples is not possible: {self._why_alone}", code="not-supported")
        self._preparation = Preparation(self._job_fields, self.launcher, plan.timeout_s, cache, progress)
        self._machines = Machines(plan, matrix, self.launcher, progress)
        self._ends_at: float | None = None  # on the clock of time.monotonic
        self.began: float | None = None
        self._arrangement = Arrangement(matrix.cells, plan.seed)
        self._servers = ServerSessions(output / "raw", plan.timeout_s)
        self._shard: Shard | None = None

    def run(
        self,
        *,
        fresh: bool = False,
        budget: Budget | None = None,
        when_busy: WhenBusy | None = None,
        look: Look | None = None,
        only: Collection[str] | None = None,
        shard: Shard | None = None,
    ) -> RunReport:
        """Run what is missing of the matrix.

        Args:
            fresh: begin a new experiment instead of completing the one of the same name.
            budget: how long to go on adding rounds; None: until all have run.
            when_busy: what to do where other work disturbs the machine.
            look: asked after each round from the second on which cells need one more; None: all, up to their number.
            only: ids of the cells that are measured now; None: all.
            shard: the part of the rounds that is measured into this folder; None: all.

        Raises:
            UsageError: the folder cannot be written to, another run is writing to it, or the experiment was begun with
                another number of rounds at most.
            BusyError: other work disturbs the machine, and that is to be refused.
        """
        if self.plan.across_hosts and shard is None and self.launcher.is_here:
            where = f"launcher {self.plan.launcher!r} runs all workers on this machine"
            raise UsageError(f"--across-hosts: {where}; use one that has several, or `shard`", code="not-supported")
        folder.writable(self.output)
        with folder.locked(self.output):
            folder.finish_parts(self.output)
            self._index = index = RoundIndex(self.output)
            name = self.plan.name or folder.default_name(self.plan, self.registry)
            experiment = folder.next_name(index, name) if fresh else folder.latest_name(index, name)
            report = RunReport(experiment)
            complete = index.finished(experiment)
            folder.check_max_rounds(index, experiment, self.plan.max_rounds if self.plan.looks else None)
            cells = [cell for cell in self.matrix.cells if only is None or cell.id in only]
            kept = folder.KeptPlan(rounds=self.plan.most_rounds, cells=dict(self.matrix.labels), shard=shard)
            folder.keep_plan(self.output, experiment, kept)
            self._shard = shard
            here = {cell.id for cell in cells}
            wanted = {(cell_id, index) for cell_id, index in kept.wanted if cell_id in here}
            report.kept = len(wanted & complete)
            with self.progress:
                try:
                    if report.kept < len(wanted):
                        self._machines.settle(index, experiment, when_busy or WhenBusy())
                        # those of other cells and shards count as there
                        others = {(cell.id, i) for cell in self.matrix.cells for i in range(self.plan.most_rounds)}
                        self._rounds(report, complete | (others - wanted), budget or Budget(), look)
                    else:
                        self.progress.begin({}, report.kept)
                except KeyboardInterrupt:
                    report.interrupted = True
                except OSError as error:
                    report.stopped = f"cannot write the log of {report.experiment} in {self.output}: {error.strerror}"
                finally:
                    self._servers.close()
            return report

    def _rounds(self, report: RunReport, complete: set[tuple[str, int]], budget: Budget, look: Look | None) -> None:
        rounds = range(self.plan.most_rounds)
        missing = [(cell, index) for cell in self.matrix.cells for index in rounds if (cell.id, index) not in complete]
        cells = list({cell.id: cell for cell, _ in missing}.values())
        unable = [cell for cell in cells if self.prepared(cell).reason is not None]
        for cell in unable:  # said and recorded once, before anything is measured
            self._together(report, [cell], next(index for one, index in missing if one.id == cell.id))
            complete = complete | {(cell.id, index) for index in rounds}
        certain = self._missing(complete, min(budget.min_rounds, len(rounds)))
        within_s = budget.seconds if budget.limit_s is None else budget.limit_s
        todo = self._missing(complete, len(rounds))
        self.progress.begin(todo, report.kept, within_s, certain if budget.limit_s is None else None)
        self._arrangement = self._arrange(report.experiment)
        start, longest, among = time.monotonic(), 0.0, None
        self.began = self.began or start
        self._ends_at = None if budget.limit_s is None else start + budget.limit_s
        if self._machines.are_many:
            return self._spread(report, complete, budget)
        for index in rounds:
            began = time.monotonic()
            spent = began - start
            if index >= budget.min_rounds and budget.seconds is not None and spent + longest > budget.seconds:
                return
            if look is not None and index >= FIRST_LOOK:
                among = look(report.experiment)
            for cells in self._arrangement.of_round(index, complete, among):
                if self._ends_at is not None and time.monotonic() >= self._ends_at:
                    return
                self._together(report, cells, index)
            longest = max(longest, time.monotonic() - began)

    def _spread(self, report: RunReport, complete: set[tuple[str, int]], budget: Budget) -> None:
        """Measure what is missing on all places that the launcher has."""
        rounds = range(self.plan.most_rounds)
        todo = [(one, index) for index in rounds for (one,) in self._arrangement.of_round(index, complete)]
        ends = [self._ends_at, None if budget.seconds is None else time.monotonic() + budget.seconds]
        spread(
            self.launcher,
            [(Need(cell.device, cell.backend.name), (cell, index)) for cell, index in todo],
            Steps(partial(self._begin, report.experiment), self._alone, partial(self._conclude, report)),
            min((end for end in ends if end is not None), default=None),
        )

    def _missing(self, complete: set[tuple[str, int]], rounds: int) -> dict[str, int]:
        """Count the rounds of each cell, by its label, that are not there among the first ``rounds``."""
        return {
            self.matrix.labels[cell.id]: sum((cell.id, index) not in complete for index in range(rounds))
            for cell in self.matrix.cells
        }

    def _arrange(self, experiment: str) -> Arrangement:
        """Decide which cells of a round are measured in turn; the same for a whole experiment."""
        cells = self.matrix.cells
        weights = {cell.id: self._preparation.weight_bytes(cell) for cell in cells}
        kind = self.plan.interleave or folder.stored_interleaving(self._index, experiment)
        is_apart = self._shard is not None and self._shard.across_hosts
        kind = "rounds" if is_apart or self._why_alone is not None else kind
        return Arrangement.of(cells, self.plan.seed, weights, kind, self.progress.say)

    def _reason_to_be_alone(self) -> str | None:
        """Say why workers cannot be stopped and continued in turn; None where they can."""
        if not isinstance(self.launcher, LocalLauncher):
            return f"launcher {self.plan.launcher!r} cannot stop and continue its workers"
        if not self.plan.restart_server and any(cell.server_key is not None for cell in self.matrix.cells):
            return "a server that outlives rounds runs on while others measure; add --restart-server"
        return None

    def _together(self, report: RunReport, cells: Sequence[Cell], index: int) -> None:
        """Measure a round of each of some cells, in turn if they are several, again where that machine was lost."""
        for left in reversed(range(LAUNCHES)):
            if not self._attempt(report, cells, index, is_last=left == 0):
                return

    def _attempt(self, report: RunReport, cells: Sequence[Cell], index: int, *, is_last: bool) -> bool:
        """Measure one round of each; return whether that is to be done again, with nothing left of this attempt."""
        block = str(uuid.uuid4()) if len(cells) > 1 else None
        with ExitStack() as stack:
            rounds: list[RoundRun] = []
            for cell in cells:
                rounds.append(self._begin(report.experiment, (cell, index), block=block))
                stack.enter_context(rounds[-1].log)
            going = [one for one in rounds if one.outcome is None]
            with Watched({cell.device for cell in cells}, is_here=self.launcher.is_here) as watched:
                try:
                    self._measure(going, f"{self.plan.seed}:{index}")
                except KeyboardInterrupt:
                    for one in going:
                        one.outcome = one.outcome or INTERRUPTED
            if not is_last and any(one.outcome is not None and one.outcome.is_lost for one in going):
                for one in rounds:
                    one.begin_again()
                return True
            for one in rounds:
                if self._is_dropped(one):
                    one.discard()
                    continue
                one.figures |= watched.figures_of(one.now.cell.device, is_alone=block is None)
                self._conclude(report, one)
        if any(one.outcome is not None and one.outcome.status == "interrupted" for one in rounds):
            raise KeyboardInterrupt
        return False

    def _is_dropped(self, one: RoundRun) -> bool:
        """Whether the time of the run was up before a round had a sample that counts."""
        is_up = self._ends_at is not None and time.monotonic() >= self._ends_at
        if not is_up or one.outcome is None or one.outcome.status != "timeout":
            return False
        one.outcome = Outcome("timeout", TIME_IS_UP)
        return not one.log.content.measured

    def _conclude(self, report: RunReport, one: RoundRun) -> None:
        outcome = one.outcome = one.conclude(self.prompts, self.plan.timeout_s)
        self._index.add(one.log.path)
        if one.cut is not None:
            report.cut.append((one.label, one.now.index, one.cut))
        if outcome.status == "ok":
            report.done += 1
        elif outcome.status != "interrupted":
            report.failed.append((one.label, one.now.index, outcome.status, outcome.reason or ""))

    def _begin(
        self, experiment: str, what: tuple[Cell, int], environment: Environment | None = None, block: str | None = None
    ) -> RoundRun:
        """Open the log of a round, on the machine that all rounds run on or another one.

        One that cannot be started has its outcome already.
        """
        (cell, index), machine = what, self._machines.described(environment)
        prepared, place = self.prepared(cell), self.matrix.cells.index(cell)
        order, launcher = self._arrangement.place(cell, index), type(self.launcher)
        now = Round(str(uuid.uuid4()), experiment, cell, index, order, place, block, prepared.seconds, launcher)
        log = RoundLog(now.path(self.output, machine, self.plan.seed))
        try:
            log.add("run", head(now, self.plan, self.prompts, self.registry, machine))
        except BaseException:
            log.abandon()
            raise
        label = self.matrix.labels[cell.id]
        begun = RoundRun(now, label, log, self.progress, is_beside_others=self._machines.are_many)
        if prepared.reason is not None:
            begun.outcome = Outcome("failed", prepared.reason)
        elif shortage := self._preparation.shortage(cell, self.output, self.plan.memory_limit_bytes):
            begun.outcome = Outcome("skipped", shortage)
        else:
            begun.job = self.measure_job(cell, occasion_of(experiment, index))
            self._serve(begun)
        return begun

    def _serve(self, one: RoundRun) -> None:
        """Have the server run that answers a round, where it has one that outlives rounds."""
        key = one.now.cell.server_key
        if key is None:
            self._servers.close()
        if key is None or one.job is None or self.plan.restart_server or not self.launcher.is_here:
            return
        try:
            one.job = one.job.model_copy(update={"server": self._servers.server_for(key, one.job)})
        except BackendError as error:
            one.outcome = Outcome("failed", f"the server did not start: {error}")

    def _measure(self, rounds: Sequence[RoundRun], seed: str) -> None:
        """Run the workers of some rounds, in turn where they are several."""
        if len(rounds) > 1:
            measure_block(rounds, self.plan.timeout_s, seed, self._ends_at)
        for one in rounds if len(rounds) == 1 else ():
            one.begins(self.plan.timeout_s)
            self._alone(one)

    def _alone(self, one: RoundRun, place: Place | None = None) -> None:
        """Run the worker of one round, at a place of the launcher's where there are several."""
        assert one.job is not None
        start = time.monotonic()
        one.outcome = self.run_job(one.job, one.listener.take, one.engine_text, place)
        one.wall_s = time.monotonic() - start

    def set_up(self) -> None:
        """Prepare every cell before anything is measured."""
        with self.progress:
            self.progress.say(f"cells to set up: {len(self.matrix.cells)}; models are converted and compiled once")
            for cell in self.matrix.cells:
                self.prepared(cell)

    def prepared(self, cell: Cell) -> PreparedCell:
        """Convert or quantise the cell's model in a throw-away process, once; a failure is kept as its reason."""
        return self._preparation.of(cell)

    def run_job(
        self, job: Job, on_line: OnLine, engine_text: Path | None = None, place: Place | None = None
    ) -> Outcome:
        """Run a job in a worker of its own, see ``Launcher.run``."""
        timeout_s = self.plan.timeout_s
        if self._ends_at is not None:
            timeout_s = max(0.0, min(timeout_s, self._ends_at - time.monotonic()))
        return self.launcher.run(launch_of(job, timeout_s, engine_text, place), on_line)

    def measure_job(self, cell: Cell, occasion: str) -> MeasureJob:
        """Return the job of a round of a cell whose model is prepared; see ``Prompts.jobs_of``."""
        prompts = self.prompts.jobs_of(cell, occasion)
        return MeasureJob(**self.loaded_fields(cell), prompts=prompts, memory_limit_bytes=self.plan.memory_limit_bytes)

    def loaded_fields(self, cell: Cell) -> dict[str, Any]:
        """Return the fields of a job that has the cell's model loaded; the model must have been prepared."""
        model = self.prepared(cell).model
        assert model is not None
        about = {"prepared": PreparedJob.of(model), "workload": cell.workload, "seed": self.plan.seed}
        return {**self._job_fields(cell), **about}

    def _job_fields(self, cell: Cell) -> dict[str, Any]:
        where = {"cache_root": self.cache.root, "default_threads": self._machines.threads}
        return {**job_fields(cell, self.registry), **where}
