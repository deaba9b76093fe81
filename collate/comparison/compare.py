"""Compare the cells of an experiment with a baseline: ratios with intervals, verdicts, parity, accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict, Unpack, cast

from ... import defaults
from ...core.records.metrics import METRICS, Metric
from ...core.records.store import Store
from ..findings import Further, found_of, no_further
from ..findings.subject import Subject
from ..load.curves import break_evens, load_curves
from ..parity.divergence import load_scores, parity_of
from ..statistics.intervals import Interval, scale_mean, welch_interval
from ..statistics.noise import rounds_needed
from ..statistics.ratios import log_ratio_geomean, log_ratio_median, log_ratio_of_totals, over_prompts
from ..statistics.verdicts import at_look, simultaneous, verdict_of
from .accuracy import accuracies, estimate
from .conditions import unlike_conditions, unlike_rounds
from .labels import Group, check_by, find_baseline, groups, infer_by, labels, mixed_dimensions, value_of
from .observations import (
    Cell,
    Parts,
    choose_experiment,
    load_cells,
    load_parts,
    log_totals,
    metric_of,
    paired_rounds,
    prompts_of,
    tells_prompts,
    usual_metric,
)
from .result import Accuracy, CellLabel, Comparison, ComparisonRow, Estimate, Unit, Verdict
from .robust import robust_disagreements
from .side_by_side import apart


@dataclass(frozen=True, slots=True)
class _Ratios:
    """Logarithms of the ratios of a cell to its baseline."""

    totals: Interval
    geomean: Interval
    median: Interval

    @property
    def each(self) -> tuple[Interval, Interval, Interval]:
        """All of them."""
        return self.totals, self.geomean, self.median


_NOTHING = _Ratios(Interval(None), Interval(None), Interval(None))


class Choices(TypedDict, total=False):
    """What is compared; all of it may be left out.

    Attributes:
        experiment: its name; the latest one by default.
        by: backend, model, quantisation, device or an option: compare cells that differ in it only, each group with
            its own baseline. By default all cells are compared with one baseline.
        baseline: a cell's label or id, or a value (of ``by``, else of any dimension); by default the plan's first
            cell that has a finished round with the metric.
        metric: name in ``METRICS`` whose ratios are computed; by default decode speed, or end-to-end speed where no
            cell has the former, as in logs that have totals only, or scoring speed where choices were scored, or
            end-to-end time where no cell counts tokens.
        min_effect: relative difference below which cells are called equivalent.
        steady_state: leave the first measured sample of every round out of all times; answers keep it.
        over: what an interval speaks of: other rounds with these prompts, or other rounds and other ``prompts``.
    """

    experiment: str | None
    by: str | None
    baseline: str | None
    metric: str | None
    min_effect: float
    steady_state: bool
    over: Unit


def compare(store: Store, *, further: Further = no_further, **choices: Unpack[Choices]) -> Comparison:
    """Compare the cells of one experiment.

    Args:
        store: an open store.
        further: gives the checks of plugins, asked for after everything else.
        choices: see ``Choices``.

    Raises:
        UsageError: an unknown experiment, dimension, baseline or metric; the store is empty.
    """
    name = choose_experiment(store, choices.get("experiment"))
    by, steady_state = choices.get("by"), choices.get("steady_state", False)
    min_effect, over = choices.get("min_effect", defaults.MIN_EFFECT), choices.get("over", "rounds")
    if steady_state:
        store.leave_out_first_samples()
    every = load_cells(store, name)
    metric = choices.get("metric") or usual_metric(every)
    chosen = metric_of(metric)
    warnings = ["steady state: the first sample of every round is excluded from timings"] if steady_state else []
    cells = every
    if by is not None:
        check_by(cells, by)
        without = [cell for cell in cells if value_of(cell, by) is None]
        cells = [cell for cell in cells if value_of(cell, by) is not None]
        warnings += [f"left out: {label.label!r} has no option {by!r}" for label in labels(without).values()]
    names = labels(cells)
    first = _baseline(cells, names, metric, choices)
    grouped = groups(cells, by, first) if by else [Group(first, [cell for cell in cells if cell is not first])]
    pairs = [(cell, group.baseline) for group in grouped for cell in (group.baseline, *group.others)]
    dimension = by or infer_by(cells)
    if by is not None:
        warnings += mixed_dimensions(grouped, by)
    warnings += _unlike(pairs, names, dimension)
    rows = _rows(store, name, pairs, chosen, min_effect, over)
    most = _most_rounds(*cells)
    warnings += robust_disagreements(rows, min_effect)
    curves = load_curves(cells)
    return Comparison(
        experiment=name,
        baseline=names[first.cell_id].label,
        by=dimension,
        metric=metric,
        min_effect=min_effect,
        steady_state=steady_state,
        over=over,
        comparisons=sum(row.p_value is not None for row in rows),
        max_rounds=most,
        rows=rows,
        load_curves=curves,
        break_evens=break_evens(curves, cells, first.cell_id),
        warnings=tuple(dict.fromkeys(warnings)),
        findings=found_of(Subject(store, name, every, metric, min_effect), further),
    )


def _baseline(cells: list[Cell], names: dict[str, CellLabel], metric: str, choices: Choices) -> Cell:
    wanted = choices.get("baseline")
    finished = [cell for cell in cells if cell.rounds] or cells
    able = [cell for cell in finished if cell.values(metric)] or finished
    return find_baseline(able if wanted is None else cells, names, wanted, choices.get("by"))


def _unlike(pairs: list[tuple[Cell, Cell]], names: dict[str, CellLabel], dimension: str) -> list[str]:
    """Return what differs between compared cells beside what is compared, and between rounds of one."""
    texts = {cell_id: label.label for cell_id, label in names.items()}
    found = [warning for cell, _ in pairs for warning in unlike_rounds(cell, texts[cell.cell_id])]
    compared = [(cell, base) for cell, base in pairs if cell is not base and cell.rounds and base.rounds]
    return [*found, *apart(compared, texts), *unlike_conditions(compared, texts, dimension)]


def _rows(
    store: Store, experiment: str, pairs: list[tuple[Cell, Cell]], metric: Metric, min_effect: float, over: Unit
) -> tuple[ComparisonRow, ...]:
    parts = load_parts(store, experiment, metric)
    scores = load_scores(store, experiment)
    names = labels([cell for cell, _ in pairs])
    ratios = [_ratios(cell, base, parts, metric, over) for cell, base in pairs]
    most = [_most_rounds(cell, base) for cell, base in pairs]
    family = simultaneous([ratio.totals for ratio in ratios], most)
    accuracy = accuracies(pairs)
    rows = []
    for at, ((cell, base), ratio, together, accurate) in enumerate(zip(pairs, ratios, family, accuracy, strict=True)):
        is_baseline = cell is base
        own = [_of_itself(cell) if is_baseline else estimate(at_look(one, most[at]).exp()) for one in ratio.each]
        rows.append(
            ComparisonRow(
                cell=names[cell.cell_id],
                baseline=names[base.cell_id].label,
                rounds=len(cell.numbers),
                failed=len(cell.failed),
                n=cell.measured,
                metrics=_estimates(cell, accurate),
                ratio=own[0],
                ratio_simultaneous=_of_itself(cell) if is_baseline else estimate(together.exp()),
                ratio_geomean=own[1],
                ratio_median=own[2],
                p_value=together.p_value,
                deviation=None if together.error is None else together.error * math.sqrt(together.n),
                rounds_needed=_rounds_needed(together, min_effect),
                verdict="baseline" if is_baseline else cast(Verdict, verdict_of(together.exp(), min_effect)),
                parity=parity_of(cell, base, scores),
                accuracy=accurate,
                is_one_server=cell.is_one_server,
            )
        )
    return tuple(rows)


def _most_rounds(*cells: Cell) -> int | None:
    """Return how many rounds there may be, where a look after each decided on the next; None where there were none."""
    return max((r.run["max_rounds"] for cell in cells for r in cell.rounds if r.run["max_rounds"]), default=None)


def _rounds_needed(logs: Interval, min_effect: float) -> int | None:
    """Rounds with which the interval would be as narrow as the smallest effect, by the ratio's own scatter.

    None where it already is, and where there is no interval.
    """
    if logs.low is None or logs.high is None or logs.error is None:
        return None
    needed = rounds_needed(logs.error * math.sqrt(logs.n), math.log1p(min_effect))
    return needed if needed > logs.n else None


def _of_itself(cell: Cell) -> Estimate:
    return Estimate(value=1.0 if cell.rounds else None, n=len(cell.numbers))


def _estimates(cell: Cell, accuracy: Accuracy | None) -> dict[str, Estimate]:
    """Every metric that the log supports: mean over rounds with its interval; accuracy as in ``accuracy``."""
    found = {name: cell.values(name) for name in METRICS if name != "accuracy"}
    made = {name: estimate(scale_mean(values)) for name, values in found.items() if values}
    if accuracy is not None:
        made["accuracy"] = accuracy.value
    return made


def _ratios(cell: Cell, baseline: Cell, parts: dict[str, Parts], metric: Metric, over: Unit) -> _Ratios:
    """The ratios of a cell to its baseline, turned so that above 1 is better."""
    if cell is baseline:
        return _NOTHING
    better, worse = (cell, baseline) if metric.higher_is_better else (baseline, cell)
    rounds = paired_rounds(better, worse, parts)
    if not _are_interleaved(cell, baseline) or len(rounds) < min(2, len(cell.rounds), len(baseline.rounds)):
        return _unpaired(better, worse, parts)
    if not rounds or not all(min(r.numerator.sum(), r.base_numerator.sum()) > 0 for r in rounds):
        return _NOTHING
    has_own = all(bool((r.numerator > 0).all() and (r.base_numerator > 0).all()) for r in rounds)
    totals = over_prompts(rounds) if over == "prompts" else log_ratio_of_totals(rounds)
    return _Ratios(totals, log_ratio_geomean(rounds), log_ratio_median(rounds)) if has_own else _only(totals)


def _only(totals: Interval) -> _Ratios:
    """Where prompts have no ratios of their own, or they do not pair by round."""
    return _Ratios(totals, Interval(None), Interval(None))


def _are_interleaved(cell: Cell, baseline: Cell) -> bool:
    """Whether rounds of one index ran beside each other; those of imports are numbered as they come."""
    return all(r.run["order"] is not None for side in (cell, baseline) for r in side.rounds)


def _unpaired(cell: Cell, baseline: Cell, parts: dict[str, Parts]) -> _Ratios:
    """Welch's interval on the rounds' logs, for cells whose rounds did not run beside each other.

    Over the prompts that both had; over everything, where one of the two logs does not tell its prompts.
    """
    common = prompts_of(cell, parts) & prompts_of(baseline, parts)
    wanted = common if tells_prompts(cell, parts) and tells_prompts(baseline, parts) else None
    ours, theirs = log_totals(cell, parts, wanted), log_totals(baseline, parts, wanted)
    if not ours or not theirs:
        return _NOTHING
    return _only(welch_interval(ours, theirs))
