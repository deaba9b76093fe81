"""One experiment in two stages within a time: a first comparison early, the other cells while time lasts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ..measure.machine.waiting import WhenBusy
from ..measure.progress import Progress
from ..measure.rounds.report import Budget, RunReport
from .comparison import Comparison
from .experiment import Experiment, Measurement
from .results import open as open_results


@dataclass(frozen=True, slots=True)
class Stages:
    """What comes first, and when each stage ends.

    Attributes:
        first: ids of the cells of the first stage, the baseline among them.
        first_s: when it ends, from the first round on; workers end with it.
        limit_s: when the second stage ends, likewise.
    """

    first: Collection[str]
    first_s: float
    limit_s: float


def run_in_stages(
    found: Measurement,
    output: Path,
    stages: Stages,
    *,
    when_busy: WhenBusy | None = None,
    progress: Progress,
    on_first: Callable[[Comparison], object],
) -> Experiment:
    """Measure some cells, then the others; models are set up before the first second counts.

    Args:
        found: what to measure.
        output: the output folder; a new experiment begins in it.
        stages: what comes first, and when each ends.
        when_busy: what to do where other work disturbs the machine.
        progress: told how it goes.
        on_first: handed the comparison of the first stage.
    """
    runner = found.runner(output, progress)
    runner.set_up()
    report = runner.run(fresh=True, budget=Budget(limit_s=stages.first_s), when_busy=when_busy, only=stages.first)
    early = _compared(output, report)
    if early is not None:
        on_first(early)
    if not (report.interrupted or report.stopped):
        second = runner.run(budget=Budget(limit_s=stages.limit_s), when_busy=when_busy)
        report = _joined(report, second)
    return Experiment(output, report, _compared(output, report))


def _compared(output: Path, report: RunReport) -> Comparison | None:
    if report.stopped or not report.done:
        return None
    with open_results(output) as results:
        return results.compare(experiment=report.experiment)


def _joined(first: RunReport, second: RunReport) -> RunReport:
    return RunReport(
        first.experiment,
        done=first.done + second.done,
        failed=[*first.failed, *second.failed],
        cut=[*first.cut, *second.cut],
        interrupted=second.interrupted,
        stopped=second.stopped,
    )
