"""What is doubtful in the measurements, as sentences with the figures behind them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache

import numpy as np

from .. import defaults
from ..core.errors import unknown_name
from ..core.finding import FindingCheck
from ..core.metrics import METRICS
from ..core.registry import Registry
from ..core.store import Store
from .accuracy import accuracies
from .labels import labels, option_values
from .like_work import LIKE_WORK_CHECKS
from .noise import outliers, rounds_needed, slope, variation
from .observations import Cell, load_cells
from .statistics import t_interval
from .subject import Subject

_NOTABLE = 0.05  # an outlier by rank that is nearer than this to its twins does no harm
_VARIATION = (0.05, 0.10)
_MANY = 1000  # rounds beyond which the number says nothing but "find a quieter machine"
_COLD = 1.5  # first sample's time to first token against the median of the others


def findings(
    store: Store,
    experiment: str,
    *,
    metric: str = "decode_tokens_per_s",
    min_effect: float = defaults.MIN_EFFECT,
    cells: Sequence[Cell] | None = None,
    undecided: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Return every finding on one experiment.

    Args:
        store: an open store.
        experiment: its name.
        metric: name in ``METRICS`` by which rounds are judged.
        min_effect: relative difference that the experiment is meant to tell.
        cells: its cells, where they are loaded already.
        undecided: ids of the cells whose comparison showed nothing, where one was made: only these need more rounds.

    Raises:
        UsageError: the metric is not known.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    loaded = list(load_cells(store, experiment) if cells is None else cells)
    names = {cell_id: label.label for cell_id, label in labels(loaded).items()}
    subject = Subject(loaded, names, metric, min_effect, undecided)
    own = (text for check in (*_CHECKS, *LIKE_WORK_CHECKS) for text in check(subject))
    facts = [
        {**cell.run, "label": names[cell.cell_id], "measured": cell.rounds[0].samples} for cell in loaded if cell.rounds
    ]
    return (*own, *(text for check in _plugin_checks() for text in check.check(facts)))


@cache
def _plugin_checks() -> tuple[FindingCheck, ...]:
    return tuple(Registry().findings.values())


def shared_devices(subject: Subject) -> Iterator[str]:
    """Rounds on a GPU that another process was using."""
    for cell in subject.cells:
        busy = [round.run["device_other_processes"] for round in cell.rounds if round.run["device_other_processes"]]
        if busy:
            yield (
                f"{len(busy)} of {len(cell.rounds)} rounds of {subject.name(cell)} shared {cell.run['device']} with "
                f"up to {max(busy)} other processes; measure again on a free device"
            )


def unfinished_rounds(subject: Subject) -> Iterator[str]:
    """Rounds without a result, with their reasons."""
    for cell in subject.cells:
        for run in cell.failed:
            reason = f": {run['reason']}" if run["reason"] else ""
            yield f"round {run['round']} of {subject.name(cell)} is {run['status']}{reason}"


def outlier_rounds(subject: Subject) -> Iterator[str]:
    """Rounds far from their twins (median absolute deviation)."""
    show = METRICS[subject.metric].format
    for cell in subject.cells:
        rounds = [r for r in cell.rounds if r.run[subject.metric] is not None]
        values = cell.values(subject.metric)
        middle = float(np.median(values)) if values else 0.0
        for i in outliers(values):
            if abs(values[i] - middle) > _NOTABLE * abs(middle):
                yield (
                    f"round {rounds[i].run['round']} of {subject.name(cell)} is an outlier: {subject.metric} "
                    f"{show(values[i])}, median of the cell {show(middle)}"
                )


def variable_rounds(subject: Subject) -> Iterator[str]:
    """Cells whose rounds scatter widely, and the rounds that would be needed where the scatter hides the answer."""
    for cell in subject.cells:
        values = cell.values(subject.metric)
        spread = variation(values)
        if spread is None:
            continue
        parts = []
        if spread > _VARIATION[0]:
            grade = "very noisy" if spread > _VARIATION[1] else "noisy"
            parts.append(f"is {grade}: {subject.metric} varies by {spread:.1%} between rounds")
        needed = rounds_needed(spread, subject.min_effect)
        if needed > len(values) and (subject.undecided is None or cell.cell_id in subject.undecided):
            count = f"about {needed}" if needed <= _MANY else f"more than {_MANY}"
            parts.append(f"{count} rounds are needed to tell {subject.min_effect:.1%} apart, it has {len(values)}")
        if parts:
            yield f"{subject.name(cell)} {'; '.join(parts)}"


def drifting_rounds(subject: Subject) -> Iterator[str]:
    """Cells that get steadily faster or slower from round to round."""
    for cell in subject.cells:
        found = [(r.run["round"], r.run[subject.metric]) for r in cell.rounds if r.run[subject.metric]]
        if len(found) < 5:
            continue
        x, y = zip(*found, strict=True)
        fit = slope(x, y)
        change = (fit.value or 0.0) * (max(x) - min(x)) / float(np.mean(y))
        if fit.p_value is not None and fit.p_value < 0.05 and abs(change) > subject.min_effect:
            yield f"{subject.name(cell)} drifts: {subject.metric} changes by {change:+.1%} from first to last round"


def cold_starts(subject: Subject) -> Iterator[str]:
    """A slow first measured sample: too little warm-up."""
    for cell in subject.cells:
        ratios = []
        for r in cell.rounds:
            times = [sample["ttft_s"] for sample in r.samples if sample["ttft_s"] is not None]
            if len(times) >= 3:
                ratios.append(times[0] / max(float(np.median(times[1:])), 1e-9))
        if ratios and float(np.median(ratios)) > _COLD:
            yield (
                f"{subject.name(cell)}: the first measured sample takes {float(np.median(ratios)):.1f} times as long "
                "to its first token as the others; more warm-up would keep it out"
            )


def capped_outputs(subject: Subject) -> Iterator[str]:
    """Generations that ended at the token limit although the task has an end."""
    for cell in subject.cells:
        if cell.run["ignore_eos"] or cell.run["task"] is None:
            continue
        samples = [sample for r in cell.rounds for sample in r.answers().values()]
        capped = sum(sample["finish"] == "length" for sample in samples)
        if capped:
            limit = cell.run["max_new_tokens"]
            yield f"{subject.name(cell)}: {capped} of {len(samples)} generations hit the limit of {limit} tokens"


def idle_options(subject: Subject) -> Iterator[str]:
    """Swept options that changed neither outputs nor speed."""
    for a, b in itertools.combinations([cell for cell in subject.cells if cell.rounds], 2):
        ours, theirs = option_values(a), option_values(b)
        changed = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
        same = all(a.run[key] == b.run[key] for key in ("backend", "model", "quantisation", "device"))
        if len(changed) == 1 and same and _same_outputs(a, b) and _same_speed(a, b, subject.metric):
            name = changed[0]
            yield (
                f"option {name!r} changed nothing between {ours.get(name)} and {theirs.get(name)} for "
                f"{a.run['backend']} {a.run['quantisation']}: same outputs, no difference in {subject.metric} shown"
            )


def _same_outputs(a: Cell, b: Cell) -> bool:
    ours, theirs = a.rounds[0].answers(), b.rounds[0].answers()
    return (
        bool(ours)
        and ours.keys() == theirs.keys()
        and all(
            ours[key]["output_ids"] is not None and ours[key]["output_ids"] == theirs[key]["output_ids"] for key in ours
        )
    )


def _same_speed(a: Cell, b: Cell, metric: str) -> bool:
    theirs = {r.key: r.run[metric] for r in b.rounds}
    logs = [float(np.log(r.run[metric] / theirs[r.key])) for r in a.rounds if r.run[metric] and theirs.get(r.key)]
    interval = t_interval(logs)
    return interval.low is not None and interval.high is not None and interval.low <= 0 <= interval.high


def lost_accuracy(subject: Subject) -> Iterator[str]:
    """Quantisations that lose accuracy against the one with most bits of the same backend, model and device."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in subject.cells:
        if cell.rounds and cell.run["bits_per_weight"] is not None:
            apart = tuple(cell.run[key] for key in ("backend", "model", "device"))
            groups.setdefault((*apart, repr(option_values(cell))), []).append(cell)
    pairs = []
    for group in groups.values():
        best = max(group, key=lambda cell: float(cell.run["bits_per_weight"]))
        pairs += [(cell, best) for cell in group if cell.run["bits_per_weight"] < best.run["bits_per_weight"]]
    for (cell, best), accuracy in zip(pairs, accuracies(pairs), strict=True):
        if accuracy and accuracy.verdict == "lower" and accuracy.difference and accuracy.difference.value is not None:
            lost = 100 * accuracy.difference.value
            yield f"{subject.name(cell)} loses accuracy: {lost:+.1f} points against {subject.name(best)}"


def unsteady_outputs(subject: Subject) -> Iterator[str]:
    """Cells whose greedy outputs differ from round to round."""
    for cell in subject.cells:
        if cell.run["sampling"]["temperature"] > 0 or len(cell.rounds) < 2:
            continue
        outputs: dict[object, set[tuple[int, ...]]] = {}
        for r in cell.rounds:
            for key, sample in r.answers().items():
                if sample["output_ids"] is not None:
                    outputs.setdefault(key, set()).add(tuple(sample["output_ids"]))
        unsteady = sum(len(found) > 1 for found in outputs.values())
        if unsteady:
            yield (
                f"{subject.name(cell)} is not deterministic: greedy outputs of {unsteady} of {len(outputs)} problems "
                "differ between rounds"
            )


_CHECKS: tuple[Callable[[Subject], Iterator[str]], ...] = (
    shared_devices,
    unfinished_rounds,
    outlier_rounds,
    variable_rounds,
    drifting_rounds,
    cold_starts,
    capped_outputs,
    idle_options,
    lost_accuracy,
    unsteady_outputs,
)
