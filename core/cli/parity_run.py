"""What follows the rounds of ``parity``: let cells score the reference's outputs, keep what was found, judge it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...collate.collate import collate
from ...collate.comparison.compare import compare
from ...collate.comparison.observations import load_cells
from ...collate.parity.matrix import (
    TOP_K,
    WHOLE_VOCABULARY,
    ParityMatrix,
    Tally,
    load_figures,
    ordered,
    parity_row,
    tokens_identical,
)
from ...collate.parsers.parity import ParityCell, ParityFigures
from ...defaults import TIE_MARGIN
from ..measure.job import ContinuationJob
from ..measure.launcher import run_worker
from ..measure.runner import describe_failures
from ..records.store import Store
from .divergence import score_divergences
from .output import announce

if TYPE_CHECKING:
    from ...collate.comparison.observations import Cell as Observed
    from ...collate.comparison.result import Comparison, ComparisonRow
    from ..measure.cells import Cell
    from ..measure.runner import Runner, RunReport

_FLOAT32_BITS = 32.0
_NO_DIVERGENCE = "no KL divergence: not both it and the reference gave their likeliest ids"
_SCORED = {
    *("positions", "top1_agreement", "kl_mean", "kl_max", "kl_is_exact"),
    *("max_logprob_diff", "perplexity", "perplexity_text", "reason"),
}


def hold_against_reference(runner: Runner, report: RunReport) -> ParityMatrix:
    """Hold every cell of a run against its first, score what was not scored before and keep it in ``raw/parity/``.

    Raises:
        UsageError: the store cannot be opened.
    """
    comparison = _comparison(runner, report.experiment)
    reference = runner.matrix.cells[0]
    compared = {row.cell.cell_id: row for row in comparison.rows}
    with Store.open(runner.output) as store:
        observed = {cell.cell_id: cell for cell in load_cells(store, report.experiment)}
        known = load_figures(store, report.experiment, reference.id)
    causes = {label: f"{status}: {reason}" for label, _, status, reason in report.failed}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scorer = _Scorer(runner, observed[reference.id], Path(scratch))
        for cell in runner.matrix.cells:
            row = compared[cell.id]
            if not row.rounds:
                figures = ParityFigures(verdict="not comparable", reason=causes.get(cell.label, "no finished round"))
                rows.append(parity_row(row, figures))
                continue
            previous = known.get(cell.id)
            scores = scorer.scores(cell, previous)
            found = _figures(report.experiment, row, observed[cell.id], observed[reference.id], scores)
            if found != previous:
                _append(runner.output / "raw" / "parity" / f"{report.experiment}.jsonl", found)
            rows.append(parity_row(row, found))
    collate(runner.output, runner.registry, announce=announce)
    return ParityMatrix(
        experiment=report.experiment,
        reference=comparison.baseline,
        rows=ordered(rows, comparison.baseline),
        failed=(*describe_failures(report.failed), *scorer.failed),
        broken=tuple(_broken(runner, comparison)),
    )


def _comparison(runner: Runner, experiment: str) -> Comparison:
    """Compare with the reference, once it has scored all divergences that it can."""
    left = None
    while True:
        collate(runner.output, runner.registry, announce=announce)
        with Store.open(runner.output) as store:
            comparison = compare(store, experiment=experiment, baseline=runner.matrix.cells[0].id)
            unscored = sum(d.logprob_gap is None for row in comparison.rows for d in row.parity.divergences)
            if unscored == left or not score_divergences(runner, store, comparison):
                return comparison
        left = unscored


def _figures(
    experiment: str, row: ComparisonRow, cell: Observed, reference: Observed, scores: dict[str, Any]
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


def _append(path: Path, found: ParityCell) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(found.model_dump_json(by_alias=True) + "\n")


class _Scorer:
    """Lets cells score the reference's outputs and, where the task's answers are texts, those.

    Args:
        runner: the run that gave the outputs.
        reference: what the reference answered.
        scratch: folder for the reference's distributions, which a cell's are held against one sequence at a time.
    """

    def __init__(self, runner: Runner, reference: Observed, scratch: Path) -> None:
        self._runner, self._scratch = runner, scratch
        self._reference = runner.matrix.cells[0]
        self.failed: list[str] = []
        """What could not be scored, one line each."""
        prompts = {prompt.sample_id: prompt for prompt in runner.prompts.jobs}
        answers = reference.rounds[0].answers() if reference.rounds else {}
        outputs = [
            ContinuationJob(prompt=prompts[sample_id], output_ids=row["output_ids"])
            for (sample_id, _), row in sorted(answers.items())
        ]
        texts = [
            ContinuationJob(prompt=prompts[sample_id], text=text)
            for sample_id, text in _reference_texts(runner).items()
        ]
        self._continuations = (*outputs, *texts)
        self._outputs = len(outputs)

    def scores(self, cell: Cell, previous: ParityCell | None) -> dict[str, Any]:
        """Return the fields of ``ParityCell`` that need scoring: the previous ones where they are whole."""
        if not self._continuations:
            return {}  # the reference gave no output to score
        if "score" not in cell.backend.supports:
            return {"reason": f"backend {cell.backend.name!r} cannot score"}
        if previous is not None and self._is_whole(cell, previous):
            return previous.model_dump(include=_SCORED)
        outputs, texts = Tally(), Tally()

        def add(own: dict[str, Any], theirs: dict[str, Any] | None) -> None:
            (outputs if own["index"] < self._outputs else texts).add(own, theirs)

        theirs = _lines(self._reference_file)
        if cell is self._reference:
            for line in theirs:
                add(line, line)
        elif (problem := self._evaluate(cell, lambda own: add(own, next(theirs, None)))) is not None:
            return {"reason": problem}
        told, source = (texts, "task references") if texts.positions else (outputs, "reference outputs")
        found = outputs.figures() | {"perplexity": told.perplexity, "perplexity_text": source}
        return found if found.get("kl_mean") is not None else {"reason": _NO_DIVERGENCE} | found

    def _is_whole(self, cell: Cell, previous: ParityCell) -> bool:
        has_kl = all("score-top-k" in side.backend.supports for side in (cell, self._reference))
        return previous.perplexity is not None and (previous.kl_mean is not None or not has_kl)

    @cached_property
    def _reference_file(self) -> Path | None:
        """The reference's evaluations, one JSON line a sequence; None where it cannot give them."""
        if "score" not in self._reference.backend.supports:
            return None
        path = self._scratch / "reference.jsonl"
        with path.open("w", encoding="utf-8") as file:
            problem = self._evaluate(self._reference, lambda line: file.write(json.dumps(line) + "\n"))
        return path if problem is None else None

    def _evaluate(self, cell: Cell, take: Callable[[dict[str, Any]], object]) -> str | None:
        """Run a throw-away worker that scores every continuation and hand on its lines; return why it failed."""
        runner = self._runner
        runner.progress.say(f"scoring with {cell.label}")
        problem = runner.prepared(cell).reason
        if problem is None:
            top_k = TOP_K if "score-top-k" in cell.backend.supports else 0
            changes = {"action": "evaluate", "top_k": top_k, "whole_vocabulary_up_to": WHOLE_VOCABULARY}
            job = runner.scoring_job(cell, self._continuations).model_copy(update=changes)

            def listen(line: dict[str, Any]) -> None:
                if line["type"] == "evaluation":
                    take(line)

            outcome = run_worker(job, engine_text=None, timeout_s=runner.plan.timeout_s, on_line=listen)
            problem = None if outcome.status == "ok" else outcome.reason or outcome.status
        if problem is not None:
            problem = f"could not be scored: {problem}"
            self.failed.append(f"{cell.label}: {problem}")
        return problem


def _lines(file: Path | None) -> Iterator[dict[str, Any]]:
    if file is not None:
        with file.open(encoding="utf-8") as opened:
            yield from map(json.loads, opened)


def _reference_texts(runner: Runner) -> dict[str, str]:
    """Return the task's right answers by sample, where they are texts: a bare number or word says little."""
    samples = runner.prompts.samples
    if not samples or any(len(sample.reference.split()) < 2 for sample in samples.values()):
        return {}
    gap = {name: "" if sample.prompt[-1:].isspace() else " " for name, sample in samples.items()}
    return {name: gap[name] + sample.reference for name, sample in samples.items()}


def _broken(runner: Runner, comparison: Comparison) -> Iterator[str]:
    """Yield a line for every float32 cell that differs from a float32 reference other than by ties."""
    rows = {row.cell.cell_id: row for row in comparison.rows}
    reference, *others = runner.matrix.cells
    if not _is_float32(reference, rows[reference.id]):
        return
    for cell in others:
        parity = rows[cell.id].parity
        if parity.verdict != "differs" or not _is_float32(cell, rows[cell.id]):
            continue
        real = [d for d in parity.divergences if d.top2_margin is None or d.top2_margin >= TIE_MARGIN]
        first, *_ = real
        margin = "unknown" if first.top2_margin is None else f"{first.top2_margin:.3g}"
        yield (
            f"{cell.label}: float32 weights, yet other tokens than {comparison.baseline}: prompt {first.sample_id}, "
            f"output token {first.position}: {first.token} instead of {first.baseline_token}, where the reference's "
            f"top-two margin is {margin} (a tie is below {TIE_MARGIN:g}); {len(real)} of {parity.compared} prompts part"
        )


def _is_float32(cell: Cell, row: ComparisonRow) -> bool:
    """Whether the format claims 32 bits per weight and the measured weights do not belie it."""
    claimed = next(q.bits_per_weight for q in cell.backend.quantisations() if q.name == cell.quantisation)
    measured = row.cell.bits_per_weight
    return claimed == _FLOAT32_BITS and (measured is None or round(measured) == _FLOAT32_BITS)
