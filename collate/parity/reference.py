"""Every cell of a run against its first: score what the others need, keep what was found, judge it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.measure.cells import Cell
from ...core.measure.rounds.report import RunReport, describe_failures
from ...core.measure.runner import Runner
from ...core.records.store import Store
from ...defaults import TIE_MARGIN
from ..collate import collate
from ..comparison.observations import Cell as Observed
from ..comparison.observations import load_cells
from ..comparison.result import Comparison, ComparisonRow
from ..parsers.parity import ParityCell, ParityFigures
from .evaluation import Scorer
from .matrix import ParityMatrix, load_figures, ordered, parity_row, tokens_identical
from .scoring import append, compare_scored

_FLOAT32_BITS = 32.0


def hold_against_reference(runner: Runner, report: RunReport) -> ParityMatrix:
    """Hold every cell of a run against its first, score what was not scored before and keep it in ``raw/parity/``.

    Raises:
        UsageError: the store cannot be opened.
    """
    reference = runner.matrix.cells[0]
    comparison = compare_scored(runner, report.experiment, baseline=reference.id, scores_all=True)
    compared = {row.cell.cell_id: row for row in comparison.rows}
    with Store.open(runner.output) as store:
        observed = {cell.cell_id: cell for cell in load_cells(store, report.experiment)}
        known = load_figures(store, report.experiment, reference.id)
    causes = {one.cell: f"{one.status}: {one.reason}" for one in report.failed}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scorer = Scorer(runner, observed[reference.id], Path(scratch))
        for cell in runner.matrix.cells:
            row = compared[cell.id]
            if not row.rounds:
                figures = ParityFigures(
                    verdict="not comparable", reason=causes.get(runner.matrix.labels[cell.id], "no finished round")
                )
                rows.append(parity_row(row, figures))
                continue
            previous = known.get(cell.id)
            scores = scorer.scores(cell, previous)
            found = _figures(report.experiment, row, observed[cell.id], observed[reference.id], scores)
            if found != previous:
                append(runner.output, report.experiment, [found])
            rows.append(parity_row(row, found))
    collate(runner.output, runner.registry, announce=runner.progress.say)
    return ParityMatrix(
        experiment=report.experiment,
        reference=comparison.baseline,
        rows=ordered(rows, comparison.baseline),
        failed=(*describe_failures(report.failed), *scorer.failed),
        broken=tuple(_broken(runner, comparison)),
    )


def _figures(
    experiment: str, row: ComparisonRow, cell: Observed, reference: Observed, scores: Mapping[str, Any]
) -> ParityCell:
    """Join what the outputs tell with what scoring told."""
    is_reference = cell is reference
    ours, theirs = cell.rounds[0].answers(), reference.rounds[0].answers() if reference.rounds else {}
    ids = [(theirs[key]["output_ids"], ours[key]["output_ids"]) for key in theirs.keys() & ours.keys()]
    content = {
        "experiment": experiment,
        "reference_cell": reference.cell_id,
        "cell": cell.cell_id,
        "verdict": "reference" if is_reference else row.parity.verdict,
        "compared": len(ours) if is_reference else row.parity.compared,
        "identical": len(ours) if is_reference else row.parity.identical,
        "tokens_identical": tokens_identical(ids) if is_reference or row.parity.compared else None,
        "reason": row.parity.reason,
    }
    return ParityCell.model_validate(content | {name: value for name, value in scores.items() if value is not None})


def _broken(runner: Runner, comparison: Comparison) -> Iterator[str]:
    """Yield a line for every float32 cell that differs from a float32 reference beyond numerical ties."""
    rows = {row.cell.cell_id: row for row in comparison.rows}
    reference, *others = runner.matrix.cells
    if not _is_float32(reference, rows[reference.id]):
        return
    for cell in others:
        parity = rows[cell.id].parity
        if parity.verdict != "differs" or not _is_float32(cell, rows[cell.id]):
            continue
        real = [divergence for divergence in parity.divergences if not divergence.is_tie]
        first, *_ = real
        margin = "unknown" if first.top2_margin is None else f"{first.top2_margin:.3g}"
        yield (
            f"{rows[cell.id].cell.label}: float32 weights, yet other tokens than {comparison.baseline}: prompt "
            f"{first.sample_id}, output token {first.position}: {first.token} instead of {first.baseline_token}, where "
            f"the reference's top-two margin is {margin} (a tie is below {TIE_MARGIN:g}); {len(real)} of "
            f"{parity.compared} prompts part"
        )


def _is_float32(cell: Cell, row: ComparisonRow) -> bool:
    """Whether the format claims 32 bits per weight and the measured weights do not belie it."""
    claimed = next(q.bits_per_weight for q in cell.backend.quantisations() if q.name == cell.quantisation)
    measured = row.cell.bits_per_weight
    return claimed == _FLOAT32_BITS and (measured is None or round(measured) == _FLOAT32_BITS)
