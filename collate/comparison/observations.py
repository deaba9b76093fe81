"""What the store holds on one experiment, cell by cell, in the shape in which it is compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from ...core.errors import UsageError, unknown_name
from ...core.records.metrics import METRICS, SPEEDS, Metric
from ...core.records.store import Store
from ..statistics.ratios import PairedRound

Row = dict[str, Any]
PromptKey = tuple[str, int]
"""Identity of a prompt within a run (sample_id, else prompt hash) and which of its repetitions it is."""
RoundKey = tuple[int, int]
"""Index of a round and which of its repetitions it is."""
Parts = dict[PromptKey, tuple[float, float]]
"""Numerator and denominator of a metric, by prompt."""

_JSON = ("options", "sampling", "environment", "settings", "totals", "conditions", "extra", "sessions", "workload")


@dataclass(frozen=True)
class Round:
    """One finished round: its run with all metrics, and its measured samples."""

    key: RoundKey
    run: Row
    samples: list[Row] = field(default_factory=list)

    def answers(self) -> Mapping[PromptKey, Row]:
        """Return the samples that did not fail, by prompt; those without any identity have none."""
        return self._answers

    @cached_property  # every check asks for them
    def _answers(self) -> Mapping[PromptKey, Row]:
        return {key: sample for key, sample in keyed(self.samples) if sample["status"] == "ok" and not is_unknown(key)}


@dataclass(frozen=True, slots=True)
class Cell:
    """All rounds of one cell.

    Attributes:
        cell_id: its hash.
        run: a run that stands for it: the first finished one, else the first.
        rounds: finished rounds, in order of round.
        failed: runs that did not finish.
    """

    cell_id: str
    run: Row
    rounds: list[Round]
    failed: list[Row]

    @property
    def order(self) -> tuple[int, int, str]:
        """Position in the plan; where the log does not tell it, in the schedule."""
        runs = [r.run for r in self.rounds] + self.failed
        return min((_or_last(run["cell_index"]), _or_last(run["order"]), run["started_at"]) for run in runs)

    @property
    def numbers(self) -> Mapping[RoundKey | tuple[int, str | None], list[Round]]:
        """The finished rounds by what tells them apart: one that was measured again beside others is no further one.

        Rounds of imports are numbered as they come; those of another host are others.
        """
        found: dict[RoundKey | tuple[int, str | None], list[Round]] = {}
        for r in self.rounds:
            key = r.key if r.run["order"] is None else (r.key[0], r.run["hostname"])
            found.setdefault(key, []).append(r)
        return found

    @property
    def measured(self) -> int:
        """Measured samples over all finished rounds."""
        return sum(len(set().union(*(r.answers() for r in alike))) for alike in self.numbers.values())

    @property
    def is_one_server(self) -> bool:
        """Whether one life of a server answered several finished rounds; of a remote one nobody knows otherwise."""
        lives = [one.get("id") for r in self.rounds for one in r.run["sessions"] or ()]
        return len(self.rounds) > 1 and bool(lives) and (None in lives or len(set(lives)) < len(lives))

    def values(self, metric: str) -> list[float]:
        """Return the figure of each finished round that has it, the mean where it was measured again."""
        found = ([r.run[metric] for r in alike if r.run[metric] is not None] for alike in self.numbers.values())
        return [values[0] if len(values) == 1 else fmean(values) for values in found if values]


def _or_last(position: int | None) -> int:
    return 2**62 if position is None else position


_UNKNOWN = "\0"


def is_unknown(key: PromptKey) -> bool:
    """Whether a key is of a sample whose prompt nobody told; it equals no key of another run."""
    return key[0].startswith(_UNKNOWN)


def keyed(samples: Iterable[Row]) -> list[tuple[PromptKey, Row]]:
    """Pair each sample with its prompt key; one without any identity gets a key that no other run has."""
    seen: dict[str, int] = {}
    result = []
    for sample in samples:
        name = sample["sample_id"] if sample["sample_id"] is not None else sample["prompt_hash"]
        if name is None:
            name = f"{_UNKNOWN}{sample['run_id']}"
        seen[name] = seen.get(name, -1) + 1
        result.append(((name, seen[name]), sample))
    return result


def experiments(store: Store) -> list[str]:
    """Return the names of the store's experiments, the latest first."""
    sql = "SELECT experiment FROM runs GROUP BY experiment ORDER BY max(started_at) DESC, experiment"
    return [str(experiment) for (experiment,) in store.query(sql)[1]]


def choose_experiment(store: Store, name: str | None) -> str:
    """Return ``name`` after a check, or the latest experiment.

    Raises:
        UsageError: the store has none, or none of that name.
    """
    known = experiments(store)
    if not known:
        raise UsageError(
            f"no rounds in {store.path}: nothing was measured yet, or the logs are not collated", code="no-results"
        )
    if name is None:
        return known[0]
    if name not in known:
        raise unknown_name("experiment", name, known)
    return name


def load_cells(store: Store, experiment: str) -> list[Cell]:
    """Return the cells of an experiment in the order of the plan."""
    runs = store.dicts(
        "SELECT * FROM run_metrics WHERE experiment = ? ORDER BY cell_id, round, started_at, run_id", [experiment]
    )
    outputs = _outputs(store, experiment)
    samples: dict[str, list[Row]] = {}
    for sample in store.dicts(
        'SELECT s.run_id, s."index", s.sample_id, s.prompt_hash, s.prompt_tokens, s.depth_tokens, s.output_tokens, '
        "s.finish, s.token_limit, s.score, s.status, s.reason_code, s.duration_s, s.ttft_s, s.decode_tokens, "
        "s.decode_s, s.engine, s.choice_logprobs, s.scores "
        "FROM sample_metrics s JOIN runs r ON r.run_id = s.run_id WHERE r.experiment = ? AND NOT s.is_warmup "
        'ORDER BY s.run_id, s."index"',
        [experiment],
    ):
        sample["output_ids"], sample["text"] = outputs[sample["run_id"], sample["index"]]
        for name in ("engine", "scores"):
            text = sample[name]
            sample[name] = {} if text is None or text == "{}" else json.loads(text)
        samples.setdefault(sample["run_id"], []).append(sample)
    by_cell: dict[str, list[Row]] = {}
    for run in runs:
        for name in _JSON:
            run[name] = json.loads(run[name]) if run[name] is not None else None
        by_cell.setdefault(run["cell_id"], []).append(run)
    return sorted((_cell(name, rows, samples) for name, rows in by_cell.items()), key=lambda cell: cell.order)


def _outputs(store: Store, experiment: str) -> dict[tuple[str, int], tuple[list[int] | None, str | None]]:
    """Return ids and text by run and sample; equal ones, as of greedy rounds, are fetched once and shared.

    Ids are equal where their 64-bit hash, number, sum and text are: to compare whole lists takes four times as long.
    """
    rows = store.query(
        'SELECT any_value(s.output_ids), s.text, list(s.run_id), list(s."index") '
        "FROM samples s JOIN runs r USING (run_id) WHERE r.experiment = ? AND NOT s.is_warmup "
        "GROUP BY s.text, hash(s.output_ids), len(s.output_ids), list_sum(s.output_ids)",
        [experiment],
    )[1]
    return {key: (ids, text) for ids, text, run_ids, indices in rows for key in zip(run_ids, indices, strict=True)}


def _cell(cell_id: str, runs: list[Row], samples: dict[str, list[Row]]) -> Cell:
    rounds: list[Round] = []
    repeated: dict[int, int] = {}
    for run in runs:
        if run["status"] == "ok":
            repeated[run["round"]] = repeated.get(run["round"], -1) + 1
            rounds.append(Round((run["round"], repeated[run["round"]]), run, samples.get(run["run_id"], [])))
    failed = [run for run in runs if run["status"] != "ok"]
    return Cell(cell_id, rounds[0].run if rounds else runs[0], rounds, failed)


def load_parts(store: Store, experiment: str, metric: Metric) -> dict[str, Parts]:
    """Return numerator and denominator of a metric by run and prompt, finished runs and measured samples only.

    A metric of level ``run`` has one entry per run, under the key ``("", 0)``.
    """
    if metric.level == "run":
        rows = store.dicts(
            f"SELECT run_id, '' AS sample_id, NULL AS prompt_hash, ({metric.numerator})::DOUBLE AS numerator, "
            f"({metric.denominator})::DOUBLE AS denominator FROM runs "
            f"WHERE experiment = ? AND status = 'ok' AND {metric.sql} IS NOT NULL",
            [experiment],
        )
    else:
        rows = store.dicts(
            f"SELECT f.run_id, f.sample_id, f.prompt_hash, ({metric.numerator})::DOUBLE AS numerator, "
            f"({metric.denominator})::DOUBLE AS denominator, {metric.sql} IS NOT NULL AS has "
            "FROM sample_facts f WHERE NOT f.is_warmup "
            "AND f.run_id IN (SELECT run_id FROM runs WHERE experiment = ? AND status = 'ok') "
            "ORDER BY f.run_id, f.sample",
            [experiment],
        )
        if metric.of_totals:
            rows += _totals(store, experiment, metric)
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row["run_id"], []).append(row)
    return {
        run_id: {key: (row["numerator"], row["denominator"]) for key, row in keyed(found) if row.get("has", True)}
        for run_id, found in by_run.items()
    }


def _totals(store: Store, experiment: str, metric: Metric) -> list[Row]:
    """Return the parts of the runs that have totals instead of samples, as those of one prompt named after the task."""
    numerator, denominator = metric.of_totals or ("NULL", "1")
    return store.dicts(
        f"SELECT r.run_id, coalesce(r.task, '') AS sample_id, NULL AS prompt_hash, ({numerator})::DOUBLE AS numerator, "
        f"({denominator})::DOUBLE AS denominator FROM runs r WHERE r.experiment = ? AND r.status = 'ok' "
        f"AND {metric.totals_sql} IS NOT NULL AND r.run_id NOT IN (SELECT run_id FROM samples)",
        [experiment],
    )


def paired_rounds(cell: Cell, baseline: Cell, parts: dict[str, Parts]) -> list[PairedRound]:
    """Pair the rounds of two cells and their samples by prompt; rounds without a partner or a common prompt drop out.

    Rounds that ran in turn pair by their block, others by index; so do all where two cells were never in one block.
    """
    by_block = blocks(cell) & blocks(baseline)
    theirs = {_partner(r, by_block): parts.get(r.run["run_id"], {}) for r in baseline.rounds}
    result = []
    for r in cell.rounds:
        ours, base = parts.get(r.run["run_id"], {}), theirs.get(_partner(r, by_block), {})
        common = sorted(ours.keys() & base.keys())
        if common:
            a, b = np.array([ours[key] for key in common]), np.array([base[key] for key in common])
            result.append(PairedRound(a[:, 0], a[:, 1], b[:, 0], b[:, 1]))
    return result


def blocks(cell: Cell) -> set[str]:
    """Return the ids of the blocks in which a cell was measured."""
    return {r.run["block"] for r in cell.rounds if r.run["block"] is not None}


def _partner(one: Round, by_block: Collection[str]) -> str | RoundKey:
    """Return what two rounds must agree in to be a pair, given the blocks that both cells were in."""
    block: str | None = one.run["block"]
    return one.key if block is None or not by_block else block


def log_totals(cell: Cell, parts: dict[str, Parts], prompts: set[PromptKey] | None = None) -> list[float]:
    """Return the log of each round's ratio of sums over the given prompts; rounds that lack one drop out.

    Args:
        cell: whose rounds.
        parts: of all runs.
        prompts: None takes all that a round has.
    """
    result = []
    for r in cell.rounds:
        found = parts.get(r.run["run_id"], {})
        wanted = found.keys() if prompts is None else prompts
        if wanted and wanted <= found.keys():
            numerator, denominator = (sum(found[key][i] for key in wanted) for i in (0, 1))
            if numerator > 0 and denominator > 0:
                result.append(float(np.log(numerator / denominator)))
    return result


def tells_prompts(cell: Cell, parts: dict[str, Parts]) -> bool:
    """Whether any prompt of a cell that has the metric is known by identity."""
    return any(not is_unknown(key) for key in prompts_of(cell, parts))


def prompts_of(cell: Cell, parts: dict[str, Parts]) -> set[PromptKey]:
    """Return the prompts for which any finished round has the metric."""
    return {key for r in cell.rounds for key in parts.get(r.run["run_id"], {})}


def usual_metric(cells: Iterable[Cell]) -> str:
    """Return the metric that says how fast cells are: the first speed that any of them has, else end-to-end time.

    Under load it is the throughput of all requests together, and where they come at a rate of their own, which then
    is the throughput too, how long one takes.
    """
    names, known = (*SPEEDS, "e2e_s"), list(cells)
    loads = [(cell.run["workload"] or {}) for cell in known]
    if known and all(load.get("request_rate") for load in loads):
        return "e2e_s"
    if known and all(load.get("concurrency") for load in loads):
        return "batch_tokens_per_s"
    return next((name for name in names if any(cell.values(name) for cell in known)), names[0])


def metric_of(name: str) -> Metric:
    """Look a metric up for a comparison.

    Raises:
        UsageError: it is not known, or no direction of it is better.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    metric = METRICS[name]
    if metric.higher_is_better is None:
        raise UsageError(
            f"metric {name!r} has no better direction, so its ratios cannot be ranked", code="not-supported"
        )
    return metric
