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
from .machine.waiting import WhenBusy
from .machine.watched import Watched
from .output import folder
from .output.round_index import RoundIndex
from .output.shard import Shard
from .plan import Plan
from .progress import Progress
from .prompts import Prompts, occasion_of
from .round_log import Round, RoundLog, head
from .rounds.arrangement import Arrangement, Remaining, why_by_round
from .rounds.block import measure_block
from .rounds.machines import Machines
from .rounds.preparation import Preparation, PreparedCell
from .rounds.report import FIRST_LOOK, TIME_IS_UP, Budget, BudgetEnd, Look, RunReport
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
        self._why_alone = why_by_round(matrix.cells, self.launcher)
        if plan.interleave == "samples" and self._why_alone is not None:
            raise UsageError(f"--interleave samples is not possible: {self._why_alone}", code="not-supported")
        self._preparation = Preparation(self._job_fields, self.launcher, plan.timeout_s, cache, progress)
        self._machines = Machines(plan, matrix, self.launcher, progress)
        self._ends_at: float | None = None  # on the clock of time.monotonic
        self._began: float | None = None  # the first round, likewise
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
            kept = folder.KeptPlan.of(self.plan, self.matrix.labels, shard)
            folder.keep_plan(self.output, experiment, kept)
            self._shard = shard
            wanted = {(cell_id, index) for cell_id, index in kept.wanted if only is None or cell_id in only}
            report.kept = len(wanted & complete)
            with self.progress:
                try:
                    if report.kept < len(wanted) and not self._is_answered(report, wanted - complete, look):
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

    def _is_answered(self, report: RunReport, missing: Collection[tuple[str, int]], look: Look | None) -> bool:
        """Whether a look finds no question left, so that nothing is measured and no idle machine is needed."""
        return look is not None and min(i for _, i in missing) >= FIRST_LOOK and not look(report.experiment)

    def _rounds(self, report: RunReport, complete: set[tuple[str, int]], budget: Budget, look: Look | None) -> None:
        left = self._left(report, complete)
        start, longest, ran, among = time.monotonic(), 0.0, 0, None
        self._began = self._began or start
        self._ends_at = None if budget.limit_s is None else self._began + budget.limit_s
        if self._ends_at is not None and start >= self._ends_at:
            return
        within_s = budget.seconds if self._ends_at is None else self._ends_at - start
        certain = None if budget.limit_s is not None else left.counts(self.matrix.labels, budget.min_rounds)
        self.progress.begin(left.counts(self.matrix.labels), report.kept, within_s, certain)
        if self._machines.are_many:
            return self._spread(report, left, budget)
        for index in left.rounds:
            began = time.monotonic()
            if look is not None and index >= FIRST_LOOK and not (among := look(report.experiment)):
                return
            if not (blocks := left.of_round(index, among)):
                continue
            if ran >= budget.min_rounds and budget.seconds is not None and began - start + longest > budget.seconds:
                report.budget_end = BudgetEnd(index, self.plan.most_rounds)
                return
            for cells in blocks:
                if self._ends_at is not None and time.monotonic() >= self._ends_at:
                    return
                self._together(report, cells, index)
            ran, longest = ran + 1, max(longest, time.monotonic() - began)

    def _left(self, report: RunReport, complete: set[tuple[str, int]]) -> Remaining:
        """Prepare the cells, record once of each that cannot be measured why, and return what is left to measure."""
        rounds = range(self.plan.most_rounds)
        missing = [(cell, index) for cell in self.matrix.cells for index in rounds if (cell.id, index) not in complete]
        first = {cell.id: (cell, index) for cell, index in reversed(missing)}
        unable = {cell_id for cell_id, (cell, _) in first.items() if self.prepared(cell).reason is not None}
        for cell in (one for one in self.matrix.cells if one.id in unable):
            self._together(report, [cell], first[cell.id][1])
        self._arrangement = self._arrange(report.experiment, unable)
        left = Remaining(self._arrangement, self.plan.most_rounds, complete, unable)
        for cell in left.cells:  # some of them only to be beside others
            if (reason := self.prepared(cell).reason) is not None:
                unable.add(cell.id)
                self.progress.warn(f"{self.matrix.labels[cell.id]} cannot be measured beside the others: {reason}")
        return left

    def _spread(self, report: RunReport, left: Remaining, budget: Budget) -> None:
        """Measure what is left on all places that the launcher has."""
        todo = [(one, index) for index in left.rounds for (one,) in left.of_round(index)]
        ends = [self._ends_at, None if budget.seconds is None else time.monotonic() + budget.seconds]
        unbegun = spread(
            self.launcher,
            [(Need(cell.device, cell.backend.name), (cell, index)) for cell, index in todo],
            Steps(partial(self._begin, report.experiment), self._alone, partial(self._conclude, report)),
            min((end for end in ends if end is not None), default=None),
        )
        if unbegun and budget.seconds is not None:
            report.budget_end = BudgetEnd(min(index for _, index in unbegun), self.plan.most_rounds)

    def _arrange(self, experiment: str, unable: Collection[str]) -> Arrangement:
        """Decide which cells of a round are measured in turn; the same for a whole experiment."""
        able = [cell for cell in self.matrix.cells if cell.id not in unable]
        weights = {cell.id: self._preparation.weight_bytes(cell) for cell in able}
        stored = folder.stored_interleaving(self._index, experiment)
        kind, is_apart = self.plan.interleave, self._shard is not None and self._shard.across_hosts
        if self._why_alone is not None and kind is None and len(able) > 1:
            self.progress.say(f"interleaved by round: {self._why_alone}")
        kind = "rounds" if is_apart or self._why_alone is not None else kind
        return Arrangement.of(self.matrix.cells, self.plan.seed, weights, kind, stored, self.progress.say)

    def _together(self, report: RunReport, cells: Sequence[Cell], index: int) -> None:
        """Measure a round of each of some cells, in turn if they are several, again where that machine was lost."""
        for left in reversed(range(LAUNCHES)):
            if not self._attempt(report, cells, index, is_last=left == 0):
                return

    def _attempt(self, report: RunReport, cells: Sequence[Cell], index: int, *, is_last: bool) -> bool:
        """Measure one round of each; return whether that is to be done again, with nothing left of this attempt."""
        able = [cell for cell in cells if self._obstacle(cell) is None]
        block = str(uuid.uuid4()) if len(able) > 1 else None  # the only one that runs is alone, whoever was to join it
        with ExitStack() as stack:
            rounds: list[RoundRun] = []
            for cell in cells:
                rounds.append(self._begin(report.experiment, (cell, index), block=block if cell in able else None))
                stack.enter_context(rounds[-1].log)
            going = [one for one in rounds if one.outcome is None]
            devices, server = {cell.device for cell in cells}, self._servers.pid
            with Watched(devices, is_here=self.launcher.is_here, server=server) as watched:
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
        one.outcome = Outcome("timeout", TIME_IS_UP, code="timed-out")
        one.drop_torn()
        return not one.log.content.measured

    def _conclude(self, report: RunReport, one: RoundRun) -> None:
        outcome = one.outcome = one.conclude(self.prompts, self.plan.timeout_s)
        self._index.add(one.log.path)
        report.add(one.label, one.now.index, outcome, one.cut)

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
        begun.outcome = self._obstacle(cell)
        if begun.outcome is None:
            begun.job = self.measure_job(cell, occasion_of(experiment, index))
            self._serve(begun)
        return begun

    def _obstacle(self, cell: Cell) -> Outcome | None:
        """Return how a round of a cell ends that cannot be started; None where it can."""
        prepared = self.prepared(cell)
        if prepared.reason is not None:
            return Outcome("failed", prepared.reason, code=prepared.code)
        return self._preparation.shortage(cell, self.output, self.plan.memory_limit_bytes)

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
            one.outcome = Outcome("failed", f"the server did not start: {error}", code=error.code)

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
