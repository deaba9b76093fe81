"""What the cells of an experiment did under each load, and at which load one overtakes another."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core.records.cell_names import DIMENSIONS, CellTraits, name_cells
from ...core.records.facts import PERCENTILES
from ..comparison.accuracy import estimate
from ..comparison.observations import Cell
from ..comparison.result import BreakEven, LoadCurve, LoadPoint
from ..statistics.intervals import scale_mean
from .break_even import Rounds, Standing, standing
from .knee import knee_of

AXES = ("concurrency", "request_rate")
"""Settings of the workload that say how many requests there are: in flight, or in a second."""

THROUGHPUT = "batch_tokens_per_s"
_SHOWN = (
    "requests_per_s", "total_tokens_per_s", "goodput_requests_per_s", "good_share", "ttft_s", "tpot_s", "tpot_mean_s",
    "e2e_s", "queue_s", *(f"{time}_{short}_s" for time in ("ttft", "tpot", "itl", "e2e") for short in PERCENTILES),
)  # fmt: skip


def load_curves(cells: Sequence[Cell]) -> tuple[LoadCurve, ...]:
    """Return a curve for all cells that differ in nothing but their load, in the order of the plan."""
    found = []
    for axis in AXES:
        members: dict[str, list[tuple[float, Cell]]] = {}
        for cell in cells:
            load = _load_of(cell, axis)
            if load is not None and cell.values(THROUGHPUT):
                members.setdefault(_apart_from_load(cell, axis), []).append((load, cell))
        names = name_cells([CellTraits.of(cell.run) for each in members.values() for _, cell in each], without=AXES)
        for each in members.values():
            rising = sorted(each, key=lambda one: one[0])
            found.append(_curve(names[rising[0][1].cell_id].label, axis, rising))
    return tuple(found)


def _load_of(cell: Cell, axis: str) -> float | None:
    """Return a cell's load; None where it has none, or requests that came all at once (a rate of ``inf``)."""
    try:
        load = float(cell.run["options"].get(axis, math.nan))
    except (TypeError, ValueError):
        return None
    return load if math.isfinite(load) else None


def _apart_from_load(cell: Cell, axis: str) -> str:
    run = cell.run
    options = {name: value for name, value in run["options"].items() if name != axis}
    return json.dumps([[run[name] for name in DIMENSIONS], options, run["max_new_tokens"], run["task"]], sort_keys=True)


def _curve(name: str, axis: str, cells: Sequence[tuple[float, Cell]]) -> LoadCurve:
    points = tuple(_point(load, cell) for load, cell in cells)
    speeds = [(point.load, value) for point in points if (value := point.tokens_per_s.value or 0.0) > 0]
    if not 1 < len(speeds) == len(dict(speeds)):
        return LoadCurve(name=name, axis=axis, points=points)
    knee = knee_of([load for load, _ in speeds], [value for _, value in speeds])
    return LoadCurve(name=name, axis=axis, points=points, knee=knee, is_rising=knee is None)


def _point(load: float, cell: Cell) -> LoadPoint:
    figures = {name: estimate(scale_mean(cell.values(name))) for name in _SHOWN if cell.values(name)}
    speed = estimate(scale_mean(cell.values(THROUGHPUT)))
    return LoadPoint(cell_id=cell.cell_id, load=load, tokens_per_s=speed, figures=figures)


def break_evens(curves: Sequence[LoadCurve], cells: Sequence[Cell], baseline: str) -> tuple[BreakEven, ...]:
    """Return for every curve at which loads it overtakes that of the baseline, or is overtaken.

    Args:
        curves: of the cells.
        cells: have the rounds.
        baseline: id of the baseline's cell, or of any cell of its curve.
    """
    by_id = {cell.cell_id: cell for cell in cells}
    found: list[BreakEven] = []
    for axis in AXES:
        own = [curve for curve in curves if curve.axis == axis]
        base = next((curve for curve in own if any(point.cell_id == baseline for point in curve.points)), None)
        for curve in own if base is not None else ():
            if base is not None and curve is not base:
                found += _break_even(curve, base, standing(_rounds(curve, by_id), _rounds(base, by_id)))
    return tuple(found)


def _break_even(curve: LoadCurve, base: LoadCurve, stand: Standing | None) -> Iterator[BreakEven]:
    """Yield a record for each crossing, or one that says how curves stand which do not cross."""
    for one in (stand.crossings or (None,)) if stand is not None else ():
        assert stand is not None
        ends: dict[str, Any] = {name: getattr(one, name, None) for name in ("at", "low", "high")}
        loads = {name: getattr(stand, name) for name in ("faster", "slower", "unclear", "skipped", "n")}
        rises = stand.is_above if one is None else one.rises
        yield BreakEven(curve=curve.name, baseline=base.name, axis=curve.axis, rises=rises, **ends, **loads)


def _rounds(curve: LoadCurve, cells: Mapping[str, Cell]) -> dict[float, Rounds]:
    return {
        point.load: {
            one.key: one.run[THROUGHPUT] for one in cells[point.cell_id].rounds if one.run[THROUGHPUT] is not None
        }
        for point in curve.points
    }
