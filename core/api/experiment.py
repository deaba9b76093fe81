"""Measuring: a plan expanded into cells, run, collated and compared."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ... import defaults
from ..cache import ModelCache
from ..errors import UsageError
from ..host.registry import Registry
from ..measure.cells import Matrix, expand
from ..measure.forecast.probe import RunEstimate, estimate
from ..measure.launcher import launcher_of
from ..measure.machine.waiting import WhenBusy as WhenBusy
from ..measure.output.round_index import RoundIndex
from ..measure.output.shard import Shard
from ..measure.plan import Plan, build, with_task_settings, with_trace_hash
from ..measure.progress import Progress
from ..measure.prompts import Prompts
from ..measure.rounds.report import Budget, Look, RunReport
from ..measure.runner import Runner
from .plan_content import PlanSource, plan_content, source_of
from .plugins import installed_plugins
from .table import Table, Tabular

if TYPE_CHECKING:
    from .comparison import Comparison
    from .results import Results

Reporter = Progress | Callable[[str], object] | None
"""Who is told how a run goes: a display, a function that takes a line at a time such as ``print``, or nobody."""


@dataclass(frozen=True, slots=True)
class Experiment(Tabular):
    """What a run did and what came out.

    Attributes:
        folder: the output folder, which holds this experiment and others.
        report: rounds that were run, kept and failed; why the run ended early, if it did.
        comparison: of the experiment's cells; None where there is no round, or the run was stopped.
    """

    folder: Path
    report: RunReport
    comparison: Comparison | None

    @property
    def name(self) -> str:
        """The name under which the rounds are stored."""
        return self.report.experiment

    def open(self) -> Results:
        """Open the results of its folder, see ``decodebench.open``."""
        from .results import open as open_results

        return open_results(self.folder)

    def table(self) -> Table:
        """Return ``Comparison.table``; raises ``UsageError`` where there is nothing to compare."""
        if self.comparison is None:
            raise UsageError(
                f"experiment {self.name!r} has no finished round: {self.report.stopped or 'nothing ran'}",
                code="no-results",
            )
        return self.comparison.table()

    def _repr_html_(self) -> str:
        return repr(self) if self.comparison is None else self.comparison._repr_html_()


@dataclass(frozen=True, slots=True)
class Measurement:
    """A plan and its cells, ready to be run.

    Attributes:
        plan: with what its task sets.
        matrix: its cells.
        registry: the plugins.
        notes: what was left out, and what backends say of their cells, for people.
        baseline: id of the cell that the others are compared with, even where it fails; None: the first that finished.
    """

    plan: Plan
    matrix: Matrix
    registry: Registry
    notes: Sequence[str]
    baseline: str | None = None

    @property
    def prompts(self) -> Prompts:
        """What every round is asked."""
        return Prompts.of(self.plan, self.registry, self.matrix.cells)

    def runner(self, output: Path, progress: Reporter) -> Runner:
        """Return what measures it into a folder."""
        return Runner(self.plan, self.matrix, self.registry, ModelCache(), output, display(progress))

    def estimate(self, progress: Reporter = None) -> RunEstimate:
        """Load every cell once, ask it one batch, and say what all rounds would take; nothing is recorded.

        Models are converted or quantised as for a run.
        """
        with TemporaryDirectory() as scratch, display(progress) as shown:
            return estimate(self.runner(Path(scratch), shown))

    def run(
        self,
        output: Path,
        *,
        fresh: bool = False,
        budget: Budget | None = None,
        when_busy: WhenBusy | None = None,
        progress: Reporter = None,
        shard: Shard | None = None,
    ) -> Experiment:
        """Measure what is missing, collate, score where greedy outputs diverge, compare; see ``run``.

        With a ``shard`` only its rounds are measured; ``gather`` puts the folders of all shards together.
        """
        runner = self.runner(output, progress)
        look = self._look(runner) if self.plan.looks else None
        report = runner.run(fresh=fresh, budget=budget, when_busy=when_busy, look=look, shard=shard)
        has_results = bool(report.done or report.kept) and not report.stopped
        if has_results and self.baseline is not None:  # a run that is interrupted may not have come to it
            has_results = any(entry.cell_id == self.baseline for entry in RoundIndex(output).of(report.experiment))
        return Experiment(output, report, self._compared(runner, report) if has_results else None)

    # What computes with results is imported once there are some: a launch does not wait for it.

    def _look(self, runner: Runner) -> Look:
        from .until import Looks

        return Looks(runner)

    def _compared(self, runner: Runner, report: RunReport) -> Comparison:
        from ...collate.parity.scoring import compare_scored
        from .comparison import Comparison
        from .until import more_rounds, unanswered

        further = self.registry.findings.values
        found = compare_scored(runner, report.experiment, baseline=self.baseline, further=further)
        for row in unanswered(found, self.plan) if self.plan.looks else ():
            report.undecided[row.cell.label] = more_rounds(row, found, self.plan)
        return Comparison.of(found)


def measurement(
    plan: Plan, notes: Sequence[str] = (), registry: Registry | None = None, *, converts: bool = True
) -> Measurement:
    """Expand a plan.

    Args:
        plan: what to measure.
        notes: what was left out of it already.
        registry: the plugins; None: those that are installed.
        converts: see ``cells.expand``.

    Raises:
        UsageError: an unknown name, or a value that does not go with the others.
        ModelError: a model cannot be found.
    """
    registry = registry or installed_plugins()
    launcher_of(plan.launcher, registry)
    plan = with_trace_hash(with_task_settings(plan, registry))
    matrix = expand(plan, registry, ModelCache(), converts=converts)
    if plan.looks and len(matrix.cells) < 2:
        raise UsageError(
            "--until and --until-ci need at least two cells to compare",
            code="one-cell-needed",
        )
    return Measurement(plan, matrix, registry, (*notes, *matrix.notes))


def planned(
    plan: PlanSource | None,
    settings: Mapping[str, Any],
    fallbacks: Mapping[str, Any] | None = None,
    *,
    converts: bool = True,
) -> Measurement:
    """Expand a plan and settings, see ``plan_content.plan_content``; raises as ``measurement`` does."""
    content, notes = plan_content(plan, settings, installed_plugins(), fallbacks)
    return measurement(build(content, source_of(plan)), notes, converts=converts)


def run(
    plan: PlanSource | None = None,
    *,
    output: str | Path = defaults.OUTPUT,
    fresh: bool = False,
    budget_s: float | None = None,
    when_busy: WhenBusy | None = None,
    progress: Reporter = None,
    **settings: Any,  # noqa: ANN401 - the plan's model says which there are and of what type
) -> Experiment:
    """Measure a matrix of backends, models, quantisations and options, and compare what came out.

    Existing rounds are kept; a round that fails is in the report, and the others continue.

    Args:
        plan: a plan, its content, or a TOML file with it; None if the settings span the matrix.
        output: the output folder.
        fresh: start a new experiment instead of completing the one of the same name.
        budget_s: no further round of the matrix begins if it would end later than this, counted from the start of the
            first one, which always runs; the report's ``budget_end`` has how far it came. None: no limit.
        when_busy: what to do if other work keeps the machine busy: ``WhenBusy(wait_s=600, refuses=True)`` waits for
            ten minutes at most and then measures nothing; by default one line says so.
        progress: a function of one line such as ``print``, or a ``Progress``.
        **settings: without a plan ``backends``, ``quantisations``, ``devices`` (each a name or a list of names) and
            ``options`` (a value, or a list to sweep, by ``option`` or ``backend.option``); with and without one, every
            setting of the workload (``model``, ``task``, ``samples``, ...) and of the run (``rounds``, ``seed``,
            ``name``, ...) by the plan's words, which beats the plan's.

    Raises:
        UsageError: an unknown name or setting, a value out of range, an output folder that another run is using.
        ModelError: a model cannot be found.
        BusyError: the machine is busy, and ``when_busy`` refuses that.
    """
    found = planned(plan, settings)
    return found.run(Path(output), fresh=fresh, budget=Budget(budget_s), when_busy=when_busy, progress=progress)


def display(progress: Reporter) -> Progress:
    """Return the display that tells ``progress``."""
    if isinstance(progress, Progress):
        return progress
    return Progress(Console(file=_Lines(progress), force_terminal=False, force_jupyter=False, color_system=None))


class _Lines(io.StringIO):
    """A file whose lines are handed to a function."""

    def __init__(self, take: Callable[[str], object] | None) -> None:
        super().__init__()
        self._take = take

    def write(self, text: str) -> int:
        """Hand on whole lines, which is what a console writes."""
        if self._take is not None:
            for line in text.splitlines():
                self._take(line)
        return len(text)
