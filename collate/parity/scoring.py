"""Scoring where outputs diverge: how much likelier the baseline finds its own token than the other cell's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import BackendError
from ...core.isolation.processes.messages import Score
from ...core.measure.job import ContinuationJob, ScoreJob
from ...core.measure.launcher import request_all
from ...core.measure.prompts import occasion_of
from ...core.measure.runner import Runner
from ...core.records.store import Store
from ..collate import collate
from ..comparison.compare import compare
from ..comparison.result import Comparison, Divergence
from ..findings import Further, no_further
from ..parsers.parity import ParityCell, ParityScore

_MOST = 64  # divergences scored per cell; each costs two evaluations of a prompt


@dataclass(frozen=True, slots=True)
class _Parting:
    """A first divergence and the tokens that both cells had committed before it."""

    cell_id: str
    divergence: Divergence
    common: tuple[int, ...]


def compare_scored(
    runner: Runner,
    experiment: str,
    *,
    baseline: str | None = None,
    further: Further = no_further,
    scores_all: bool = False,
) -> Comparison:
    """Collate and compare what was run, after the baseline has scored where greedy outputs diverge.

    Args:
        runner: the run.
        experiment: its name.
        baseline: a cell, as ``compare`` takes it.
        further: checks of plugins, likewise.
        scores_all: score until nothing is left, instead of some divergences of each cell.
    """
    left = None
    while True:
        report = collate(runner.output, runner.registry, announce=runner.progress.say)
        for problem in report.problems:
            if problem.file in report.unread:
                runner.progress.say(f"{problem.file}: {problem.text}")
        with Store.open(runner.output) as store:
            comparison = compare(store, experiment=experiment, baseline=baseline, further=further)
            unscored = sum(d.logprob_gap is None for row in comparison.rows for d in row.parity.divergences)
            is_done = unscored == left or not (scores_all or left is None) or runner.plan.workload.temperature > 0
            if is_done or not score_divergences(runner, store, comparison):
                return comparison
        left = unscored


def score_divergences(runner: Runner, store: Store, comparison: Comparison) -> bool:
    """Let the baseline score every first divergence that has no score yet; return whether there is anything new.

    The result goes to ``raw/parity/`` beside the raw logs, so that a rebuilt store has it too.
    """
    baseline_id = comparison.rows[0].cell.cell_id
    cell = next((cell for cell in runner.matrix.cells if cell.id == baseline_id), None)
    if cell is None or not {"score", "score-top-k"} <= cell.supports:
        return False
    partings = list(_partings(store, comparison))
    if not partings:
        return False
    occasion = _first_occasion(store, comparison.experiment, baseline_id)
    prompts = {prompt.sample_id: prompt for prompt in runner.prompts.jobs_of(cell, occasion)}
    continuations = [
        ContinuationJob(prompt=prompts[parting.divergence.sample_id], output_ids=(*parting.common, token))
        for parting in partings
        for token in (parting.divergence.baseline_token, parting.divergence.token)
        if token is not None
    ]
    try:
        if (problem := runner.prepared(cell).reason) is not None:
            raise BackendError(problem)
        job = ScoreJob(**runner.loaded_fields(cell), continuations=tuple(continuations))
        answers = request_all(job, Score, runner.plan.timeout_s, runner.launcher.run)
        if [answer.index for answer in answers] != list(range(len(continuations))):
            raise BackendError(f"{len(answers)} scores came for {len(continuations)} continuations")
    except BackendError as error:
        runner.progress.say(f"divergences could not be scored: {error}")
        return False
    _write(runner, comparison, partings, answers)
    return True


def _partings(store: Store, comparison: Comparison) -> Iterable[_Parting]:
    baseline_id = comparison.rows[0].cell.cell_id
    outputs = _outputs(store, comparison.experiment, baseline_id)
    for row in comparison.rows[1:]:
        unscored = [d for d in row.parity.divergences if d.logprob_gap is None]
        for divergence in unscored[:_MOST]:
            ids = outputs.get(divergence.sample_id)
            if ids is not None and divergence.baseline_token is not None and divergence.token is not None:
                yield _Parting(row.cell.cell_id, divergence, tuple(ids[: divergence.position]))


def _outputs(store: Store, experiment: str, cell_id: str) -> Mapping[str, list[int]]:
    sql = """
        SELECT s.sample_id, s.output_ids FROM samples s JOIN runs r USING (run_id)
        WHERE r.experiment = $experiment AND r.cell_id = $cell AND r.status = 'ok' AND NOT s.is_warmup
        ORDER BY r.round DESC
    """
    return dict(store.query(sql, {"experiment": experiment, "cell": cell_id})[1])


def _first_occasion(store: Store, experiment: str, cell_id: str) -> str:
    """Name the round of a cell that is compared, its first finished one."""
    sql = "SELECT min(round) FROM runs WHERE experiment = ? AND cell_id = ? AND status = 'ok'"
    ((index,),) = store.query(sql, [experiment, cell_id])[1]
    return occasion_of(experiment, index)


def _write(runner: Runner, comparison: Comparison, partings: list[_Parting], answers: list[Score]) -> None:
    """Append a line per divergence; answers come in pairs: the baseline's token, then the other's."""
    found = []
    for parting, own, other in zip(partings, answers[::2], answers[1::2], strict=True):
        first, second = own.top_logprobs[:2]
        found.append(
            ParityScore(
                experiment=comparison.experiment,
                baseline_cell=comparison.rows[0].cell.cell_id,
                cell=parting.cell_id,
                sample_id=parting.divergence.sample_id,
                position=parting.divergence.position,
                baseline_token=parting.divergence.baseline_token,
                token=parting.divergence.token,
                logprob_gap=own.logprob - other.logprob,
                top2_margin=first - second,
            )
        )
    append(runner.output, comparison.experiment, found)


def append(output: Path, experiment: str, found: Iterable[ParityScore | ParityCell]) -> None:
    """Append lines to an experiment's log of parity in an output folder."""
    path = output / "raw" / "parity" / f"{experiment}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(one.model_dump_json(by_alias=True) + "\n" for one in found)
