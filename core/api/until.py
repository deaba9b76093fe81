"""Adding rounds until a question is answered: which comparisons still need one, and about how many more."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from ...collate.collate import collate
from ...collate.comparison.compare import compare
from ...collate.comparison.result import Comparison, ComparisonRow, Estimate
from ...collate.statistics.noise import rounds_needed
from ...collate.statistics.verdicts import confidence_of_each
from ..measure.plan import Plan
from ..measure.runner import Runner
from ..records.store import Store


class Looks:
    """Looks at the comparison of an experiment while it is measured; a ``Look`` of the runner.

    Args:
        runner: of the plan whose question is asked.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, experiment: str) -> Collection[str]:
        """Return the ids of the cells that need one more round, the baseline among them; empty where none does."""
        collate(self._runner.output, self._runner.registry)
        with Store.open(self._runner.output) as store:
            comparison = compare(store, experiment=experiment)
        cells = [cell.id for cell in self._runner.matrix.cells]  # the experiment may have others, of another plan
        found = {row.cell.cell_id for row in unanswered(comparison, self._runner.plan)} & set(cells)
        return found | {comparison.rows[0].cell.cell_id, cells[0]} if found else found


def unanswered(comparison: Comparison, plan: Plan) -> Iterator[ComparisonRow]:
    """Yield the rows whose question more rounds may answer; a cell without a finished round is none of them."""
    for row in comparison.rows[1:]:
        if row.rounds and row.ratio.value is not None and not _is_answered(row, plan):
            yield row


def _is_answered(row: ComparisonRow, plan: Plan) -> bool:
    if plan.until_ci is None:
        return row.verdict not in ("no difference shown", "not tested")
    half = _half_width(row.ratio_simultaneous)
    return half is not None and half <= math.log1p(plan.until_ci)


def _half_width(ratio: Estimate) -> float | None:
    """Return the half-width of a ratio's interval on the log scale; None where there is no interval."""
    return None if ratio.low is None or ratio.high is None else math.log(ratio.high / ratio.low) / 2


def more_rounds(row: ComparisonRow, comparison: Comparison, plan: Plan) -> int | None:
    """Return about how many more rounds answer the question, if value and scatter stay; None where nobody can know.

    A verdict takes an interval that excludes 1, or one within the smallest effect that counts, whichever is narrower
    to reach.
    """
    value = row.ratio.value
    if value is None or row.deviation is None:
        return None
    away, least = abs(math.log(value)), math.log1p(comparison.min_effect)
    wanted = math.log1p(plan.until_ci) if plan.until_ci is not None else max(away, least - away)
    needed = rounds_needed(row.deviation, wanted, confidence_of_each(comparison.comparisons))
    return max(1, needed - row.ratio.n)
