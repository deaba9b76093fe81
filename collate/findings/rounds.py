"""Rounds that did not finish, stand apart from their twins, scatter, drift, or are copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ...core.contract.finding import Doubt, Place
from ...core.records.metrics import METRICS
from ..comparison.observations import Cell, Round, Row
from ..statistics.multiplicity import holm
from ..statistics.noise import outlier_p_values, scatter_p_value, slope, variation
from .subject import NOTABLE, Subject, rounds_of, was_busy

_FEWEST_OF_TREND = 5
_MEASURED_DIGITS = 5  # of a time that a clock told, and no person
_TELLING_DIGITS = 7  # equal ones; of fewer, two rounds may agree by chance
_SHORT_S = 0.5  # the clock is fine enough for less; machine noise, which lasts longer, is not averaged out


def unfinished_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds without a result, with their reasons."""
    for cell in subject.cells:
        for run in cell.failed:
            reason = f": {run['reason']}" if run["reason"] else ""
            yield Doubt(
                f"round {run['round'] + 1} of {subject.name(cell)} is {run['status']}{reason}",
                rows=[Place(run_id=run["run_id"])],
                severity="error",
            )


def cut_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds that ran out of time: their samples may be the easier ones."""
    for cell in subject.finished:
        cut = [r.run for r in cell.rounds if r.run["cut"]]
        if cut:
            yield Doubt(
                f"{len(cut)} of {len(cell.rounds)} rounds of {subject.name(cell)} have only the first samples: "
                f"{cut[0]['cut']}",
                "raise --timeout, or lower --samples",
                [Place(run_id=run["run_id"]) for run in cut],
            )


def single_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells with one round: a difference cannot be distinguished from machine noise."""
    single = [cell for cell in subject.finished if len(cell.rounds) == 1]
    if single and len(subject.finished) > 1:
        yield Doubt(
            f"{len(single)} of {len(subject.finished)} cells have one round, and no interval",
            "measure each in at least three processes; repetitions in one file are one round",
            rounds_of(*single),
            "note",
        )


def outlier_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds that differ from the cell's others by more than their scatter and number explain."""
    show = METRICS[subject.metric].format
    tests = []
    for cell in subject.finished:
        rounds = [r.run for r in cell.rounds if r.run[subject.metric] is not None]
        values = cell.values(subject.metric)
        found = zip(rounds, outlier_p_values(values), strict=False)
        tests += [(p, cell, run, values) for run, p in found if not was_busy(run)]
    for _, cell, run, values in _rejected(tests):
        middle = float(np.median(values))
        if abs(run[subject.metric] - middle) > NOTABLE * abs(middle):
            yield Doubt(
                f"round {run['round'] + 1} of {subject.name(cell)} is an outlier: {subject.metric} "
                f"{show(run[subject.metric])}, median of the cell {show(middle)}",
                "check what else ran then; the round is kept",
                [Place(run_id=run["run_id"])],
            )


def variable_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells whose rounds scatter by more than 5 %, beyond chance."""
    tests = []
    for cell in _undisturbed(subject):
        values = cell.values(subject.metric)
        p_value, spread = scatter_p_value(values, NOTABLE), variation(values)
        if p_value is not None and spread is not None:
            tests.append((p_value, cell, spread, len(values)))
    for _, cell, spread, count in _rejected(tests):
        yield Doubt(
            f"{subject.name(cell)} is noisy (CV {100 * spread:.0f} %): {subject.metric} of {count} rounds",
            "check what else runs on the machine; intervals include this noise",
            rounds_of(cell),
        )


def drifting_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells that get steadily faster or slower from round to round."""
    tests = []
    for cell in _undisturbed(subject):
        found = [(r.run["round"], r.run[subject.metric]) for r in cell.rounds if r.run[subject.metric]]
        if len(found) < _FEWEST_OF_TREND:
            continue
        x, y = zip(*found, strict=True)
        fit = slope(x, y)
        change = (fit.value or 0.0) * (max(x) - min(x)) / float(np.mean(y))
        if fit.p_value is not None:
            tests.append((fit.p_value, cell, change))
    for _, cell, change in _rejected(tests):
        if abs(change) > subject.min_effect:
            yield Doubt(
                f"{subject.name(cell)} drifts: {subject.metric} changes by {change:+.1%} from first to last round",
                "let the machine reach a steady temperature, and interleave the cells",
                rounds_of(cell),
            )


def _undisturbed(subject: Subject) -> list[Cell]:
    """Return the finished cells without a round on a busy machine; ``busy_machine`` reports the scatter of others."""
    return [cell for cell in subject.finished if not any(was_busy(r.run) for r in cell.rounds)]


def copied_rounds(subject: Subject) -> Iterator[Doubt]:
    """Rounds whose times agree to the clock's last digit: one measurement, counted twice."""
    twins: dict[tuple[float, ...], list[tuple[Cell, Row]]] = {}
    for cell in subject.finished:
        for r in cell.rounds:
            times = _times(r)
            if _is_telling(times):
                twins.setdefault(times, []).append((cell, r.run))
    for found in twins.values():
        if len(found) > 1:
            (cell, first), *others = found
            told = ", ".join(f"round {run['round'] + 1} of {subject.name(own)}" for own, run in others)
            yield Doubt(
                f"round {first['round'] + 1} of {subject.name(cell)} has the times of {told} to the last digit",
                "they are copies of one measurement; keep only one of them, since intervals assume independent rounds",
                [Place(run_id=run["run_id"]) for _, run in found],
                "error",
            )


def _times(r: Round) -> tuple[float, ...]:
    """Every time that a round has: of its samples, else over all of them."""
    times = [sample[name] for sample in r.samples for name in ("duration_s", "ttft_s") if sample[name]]
    return tuple(times) or tuple(filter(None, [(r.run["totals"] or {}).get("wall_s")]))


def _is_telling(times: Iterable[float]) -> bool:
    """Whether times have so many measured digits that two rounds do not agree in all of them by chance."""
    digits = 0
    for seconds in times:
        own = _digits(seconds)
        digits += own if own >= _MEASURED_DIGITS else 0
        if digits >= _TELLING_DIGITS:
            return True
    return False


def _digits(seconds: float) -> int:
    """Count the digits that were measured, nanoseconds at best: 0.5 s has one, 0.48213 s five."""
    return len(f"{seconds:.9f}".replace(".", "").strip("0"))


T = TypeVar("T", bound=tuple[Any, ...])


def _rejected(tests: Sequence[T]) -> list[T]:
    """Return the tests, each beginning with its p-value, that reject when the number of all is counted."""
    return [test for test, is_rejected in zip(tests, holm([test[0] for test in tests]), strict=True) if is_rejected]


def short_rounds(subject: Subject) -> Iterator[Doubt]:
    """Cells whose rounds are too short to average out machine noise."""
    longest = {}
    for cell in subject.cells:
        times = [sum(sample["duration_s"] or 0.0 for sample in r.samples) for r in cell.rounds]
        if 0 < max(times, default=0.0) < _SHORT_S:
            longest[cell.cell_id] = max(times)
    short = [cell for cell in subject.cells if cell.cell_id in longest]
    if short:
        first = min(short, key=lambda cell: longest[cell.cell_id])
        cells = "1 other cell" if len(short) == 2 else f"{len(short) - 1} other cells"
        others = f" and of {cells} less than {_SHORT_S:g} s" if len(short) > 1 else ""
        yield Doubt(
            f"a round of {subject.name(first)} measures at most {longest[first.cell_id]:.2f} s of work{others}",
            f"measure samples or tokens for at least {_SHORT_S:g} s",
            rounds_of(*short),
            "note",
        )
