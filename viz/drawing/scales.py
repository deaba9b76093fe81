"""Axes of numbers: where they begin and end, when they are logarithmic, and how the numbers beside them are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import ceil, log2, log10
from typing import TYPE_CHECKING, Literal

from ...core.contract.figure import Axes
from .numbers import tick

if TYPE_CHECKING:
    from matplotlib.axis import Axis

DECADE = 10.0
ROOM = 1.42
"""Of the highest value, up to the end of an axis with words over its marks."""
_MOST_RATIOS = 8  # numbers beside an axis of ratios


def write_plainly(axis: Axis, unit: float = 1.0) -> None:
    """Write the numbers beside an axis as people do, in multiples of ``unit``: thousands apart, no powers of ten."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value / unit)))


def number_plainly(axis: Axis, unit: float = 1.0) -> None:
    """Number a logarithmic axis likewise, at 1, 2 and 5 times the powers of ten, fewer where it spans many of them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = log10(high / low) if 0 < low < high else 0.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())
    write_plainly(axis, unit)


def number_ratios(axis: Axis) -> None:
    """Number an axis of ratios: 1/4×, 1/2×, 1×, 2× where it is logarithmic, so that half and double look alike."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        every = 2.0 ** max(1, ceil(log2(high / low) / _MOST_RATIOS)) if 0 < low < high else 2.0
        axis.set_major_locator(LogLocator(base=every, subs=(1.0,), numticks=99))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(
        FuncFormatter(
            lambda value, _: (
                f"1/{1 / value:.0f}×" if 0 < value <= 0.5 and axis.get_scale() == "log" else f"{tick(value)}×"
            )
        )
    )


def spans_a_decade(values: Iterable[float]) -> bool:
    """Whether the largest of values is more than ten times the smallest: on an axis from zero it would be lost."""
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) > DECADE * min(positive)


def scale_values(axes: Axes, along: Literal["x", "y"], values: Collection[float], *, room: float = ROOM) -> None:
    """Begin an axis of values at zero, or make it logarithmic where they span more than a decade.

    Args:
        axes: whose marks are drawn.
        along: the axis of the values.
        values: of the means and rounds. The axis stays with them: the interval of two noisy rounds may reach anywhere.
        room: share of the highest value up to the axis' end, for words beside the marks.
    """
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    limits = (
        (low / 1.5, high * (1.5 * high / low) ** (0.5 * (room - 1))) if spans_a_decade(positive) else (0.0, high * room)
    )
    axis = axes.yaxis if along == "y" else axes.xaxis
    if spans_a_decade(positive):
        (axes.set_yscale if along == "y" else axes.set_xscale)("log")
    (axes.set_ylim if along == "y" else axes.set_xlim)(*limits)
    if spans_a_decade(positive):
        number_plainly(axis)
