"""A bar per cell with its interval, a dot per round, and a word where a cell was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import style
from .intervals import mean_interval
from .numbers import digits
from .series import Cell, group_ticks, looks, positions, rounds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.8
_ROOM = (
    1.42  # of the highest round: the t interval of a few noisy rounds may reach far off, the axis stays with the data
)


def draw_bars(ax: Axes, found: Sequence[Cell], column: str, scale: float, hatches: Mapping[str, str]) -> str:
    """Draw the bars and return a caption that says what the marks are.

    Args:
        ax: empty axes.
        found: cells in the order of ``cells``, at least one of them with values in ``column``.
        column: the rows' column to draw; a cell without a value gets ``n/a`` and no bar.
        scale: what a value is divided by.
        hatches: hatch by ``cell_id``; the others have none.
    """
    look = looks(found)
    places = positions(found)
    values = {cell.cell_id: [value / scale for value in cell.column(column)] for cell in found}
    highest = max(max(rounds) for rounds in values.values() if rounds)
    for cell, x in zip(found, places, strict=True):
        rounds = values[cell.cell_id]
        if not rounds:
            ax.annotate("n/a", (x, 0), (0, 3), textcoords="offset points", ha="center", fontsize=7.5, color=style.MUTED)
            continue
        mean, low, high = mean_interval(rounds)
        ax.bar(
            x,
            mean,
            _BAR,
            color=look[cell.series].colour,
            label=cell.series,
            hatch=hatches.get(cell.cell_id),
            linewidth=0,
        )
        if low is not None and high is not None:
            ax.errorbar(x, mean, [[mean - low], [high - mean]], color=style.INK, capsize=3, linewidth=1.1)
        ax.plot([x] * len(rounds), rounds, ".", color=style.INK, markersize=3)
        top = min(max(high or mean, *rounds), highest * 1.3)
        ax.annotate(digits(mean), (x, top), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
    ax.set_ylim(0, highest * _ROOM)
    group_ticks(ax, found, places)
    style.legend_above(ax)
    counts = rounds_note(len(rounds) for rounds in values.values() if rounds)
    return f"Bar: mean over rounds; whisker: 95 % t interval; dots: rounds. {counts}. First step left out."


def without(found: Sequence[Cell], column: str) -> str:
    """Name the cells that have no value in ``column``; empty where all have one."""
    return ", ".join(f"{cell.series} {cell.group}" for cell in found if not cell.column(column))
