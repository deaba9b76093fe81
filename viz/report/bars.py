"""The bars of the first screen: every cell's metric with its interval, the best first, as shares of the width.

They are plain elements of the page, drawn by its style alone: they are there without scripts, and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...collate.comparison.result import Comparison, ComparisonRow, Estimate
from ...core.records.metrics import METRICS
from ..drawing.numbers import by_unit, interval, tick, unit_scale
from ..terminal.answer import is_falling

_DECADE = 10.0  # where values span more, bars from zero would hide the small ones: points on a logarithmic axis
_REACH = 1.3  # of the largest value: the interval of two noisy rounds may reach anywhere, the axis stays with the data
_TICKS = 5
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell of the chart; places are shares of its width in per cent.

    Attributes:
        at: index of its row in the comparison.
        label: its name.
        value: the metric, with its unit where that changes with the size.
        ratio: times the baseline; empty where there is none.
        interval: of the ratio; may be empty.
        verdict: as the comparison has it.
        colour, on_dark: of its backend, on a light and on a dark page.
        end: where its value is.
        low, high: ends of its interval; None where there is none.
        is_clipped_low, is_clipped_high: whether the interval reaches beyond that end of the axis.
    """

    at: int
    label: str
    value: str
    ratio: str
    interval: str
    verdict: str
    colour: str
    on_dark: str
    end: float
    low: float | None
    high: float | None
    is_clipped_low: bool
    is_clipped_high: bool


@dataclass(frozen=True, slots=True)
class BarChart:
    """All cells that have the metric.

    Attributes:
        bars: the best first.
        missing: labels of cells that were not measured, with their index.
        ticks: place and words of each.
        is_logarithmic: whether values are points on a logarithmic axis, not bars from zero.
    """

    bars: Sequence[Bar]
    missing: Sequence[tuple[int, str]]
    ticks: Sequence[tuple[float, str]]
    is_logarithmic: bool

    @property
    def has_intervals(self) -> bool:
        """Whether some cell has an interval."""
        return any(bar.low is not None for bar in self.bars)

    @property
    def is_clipped(self) -> bool:
        """Whether some interval reaches beyond the axis."""
        return any(bar.is_clipped_low or bar.is_clipped_high for bar in self.bars)


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    is_logarithmic: bool

    def place(self, value: float) -> float:
        """Return where a value stands, in per cent of the width; one beyond the axis stands at its end."""
        if self.is_logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def bar_chart(comparison: Comparison, cells: Sequence[Mapping[str, Any]]) -> BarChart:
    """Place the cells of a comparison.

    Args:
        comparison: whose metric is shown.
        cells: of ``chart_data``, with the colours of each row.
    """
    values = {at: value for at, row in enumerate(comparison.rows) if (value := _value(row, comparison)) is not None}
    missing = [(at, row.cell.label) for at, row in enumerate(comparison.rows) if at not in values]
    if not values:
        return BarChart((), missing, (), is_logarithmic=False)
    metric = METRICS[comparison.metric]
    axis = _axis([comparison.rows[at].metrics[metric.name] for at in values])
    order = sorted(values, key=lambda at: values[at], reverse=is_falling(metric.name))
    bars = [_bar(at, comparison, axis, cells[at]) for at in order]
    return BarChart(bars, missing, _ticks(axis, metric.unit), axis.is_logarithmic)


def _value(row: ComparisonRow, comparison: Comparison) -> float | None:
    estimate = row.metrics.get(comparison.metric)
    return estimate.value if estimate else None


def _axis(estimates: Sequence[Estimate]) -> _Axis:
    values = [estimate.value or 0.0 for estimate in estimates]
    least, most = min(values), max(values)
    highest = max(most, *(estimate.high or 0.0 for estimate in estimates))
    end = min(highest, most * _REACH) or 1.0
    if 0 < least and least * _DECADE < most:
        return _Axis(least / _REACH, end, is_logarithmic=True)
    return _Axis(0.0, end, is_logarithmic=False)


def _bar(at: int, comparison: Comparison, axis: _Axis, cell: Mapping[str, Any]) -> Bar:
    row = comparison.rows[at]
    estimate = row.metrics[comparison.metric]
    value = estimate.value or 0.0
    has_interval = estimate.low is not None and estimate.high is not None
    ratio, around = ("", "") if row.verdict == "baseline" else interval(row.ratio_simultaneous)
    return Bar(
        at=at,
        label=row.cell.label,
        value=by_unit(value, METRICS[comparison.metric].unit),
        ratio=ratio if row.ratio_simultaneous.value is not None else "",
        interval=around,
        verdict=row.verdict,
        colour=cell["colour"],
        on_dark=cell["onDark"],
        end=axis.place(value),
        low=axis.place(estimate.low) if has_interval and estimate.low is not None else None,
        high=axis.place(estimate.high) if has_interval and estimate.high is not None else None,
        is_clipped_low=has_interval and estimate.low is not None and estimate.low < axis.low,
        is_clipped_high=has_interval and estimate.high is not None and estimate.high > axis.high,
    )


def _ticks(axis: _Axis, unit: str) -> list[tuple[float, str]]:
    """Return round numbers along the axis: multiples of one step, or one and three times powers of ten."""
    if axis.is_logarithmic:
        decades = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)))
        steps = (1, 3) if len(decades) < _TICKS else (1,)
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [(axis.place(value), tick(value, unit)) for value in values if axis.low <= value <= axis.high]
    factor = unit_scale(axis.high, unit)
    high = axis.high / factor
    power = 10.0 ** math.floor(math.log10(high / _TICKS))
    step = next(step * power for step in _ROUND if high / (step * power) <= _TICKS)
    values = [n * step * factor for n in range(math.floor(high / step) + 1)]
    return [(axis.place(value), tick(value, unit) if value else "0") for value in values]
