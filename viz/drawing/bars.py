"""A bar per cell with its interval, a dot per round, and a word where a cell was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Axes
from . import style
from .numbers import digits
from .series import Cell, group_ticks, looks, means_note, name_few, positions

_BAR = 0.8
ROOM = (
    1.42  # of the highest round: the t interval of a few noisy rounds may reach far off, the axis stays with the data
)
_CROWDED = 14  # bars side by side whose numbers would run into one another


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
    rotation = 90.0 if len(found) > style.current().columns(_CROWDED) else 0.0
    for cell, x in zip(found, places, strict=True):
        rounds = values[cell.cell_id]
        if not rounds:
            _say(ax, "n/a", (x, 0), style.MUTED)
            continue
        speed = scale_mean(rounds)
        mean = speed.value or 0.0
        own = look[cell.series]
        hatch = hatches.get(cell.cell_id, "") + own.hatch
        ax.bar(x, mean, _BAR, color=own.colour, label=cell.series, hatch=hatch or None, linewidth=0)
        if speed.low is not None and speed.high is not None:
            ax.errorbar(x, mean, [[mean - speed.low], [speed.high - mean]], color=style.INK, capsize=3, linewidth=1.1)
        if len(rounds) > 1:
            ax.plot([x] * len(rounds), rounds, ".", color=style.INK, markersize=3)
        top = min(max(speed.high or mean, *rounds, mean), highest * 1.3)
        _say(ax, digits(mean), (x, top), style.INK, rotation)
    ax.set_ylim(0, highest * (ROOM + (0.1 if rotation else 0)))
    group_ticks(ax, found, places)
    style.legend_above(ax)
    return bars_note(len(rounds) for rounds in values.values() if rounds)


def bars_note(counts: Iterable[int]) -> str:
    """Say what bar, whisker and dots are, given the rounds behind each bar."""
    known = list(counts)
    return f"Bar: {means_note(known)}{'' if set(known) <= {1} else '; dots: rounds'}."


def _say(ax: Axes, text: str, place: tuple[float, float], colour: str, rotation: float = 0.0) -> None:
    ax.annotate(text, place, (0, 3), textcoords="offset points", ha="center", fontsize=style.SMALL, color=colour,
                rotation=rotation)  # fmt: skip


def without(found: Sequence[Cell], column: str) -> str:
    """Name the cells that have no value in ``column``, the first few of many; empty where all have one."""
    return name_few(cell.name for cell in found if not cell.column(column))
