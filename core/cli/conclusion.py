"""What follows a run: collate the folder, score where outputs part, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...collate.collate import collate
from ...collate.comparison.compare import compare
from ..records.store import Store
from .divergence import score_divergences
from .output import announce

if TYPE_CHECKING:
    from ...collate.comparison.result import Comparison
    from ..measure.runner import Runner, RunReport


def compare_run(runner: Runner, report: RunReport) -> Comparison:
    """Return the comparison of the run's experiment, divergences of greedy outputs scored."""
    collate(runner.output, runner.registry, announce=announce)
    with Store.open(runner.output) as store:
        comparison = compare(store, experiment=report.experiment, further=runner.registry.findings.values)
        has_scores = runner.plan.workload.temperature == 0 and score_divergences(runner, store, comparison)
    if not has_scores:
        return comparison
    collate(runner.output, runner.registry, announce=announce)
    with Store.open(runner.output) as store:
        return compare(store, experiment=report.experiment, further=runner.registry.findings.values)
