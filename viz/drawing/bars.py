"""A bar or point per cell with its interval, a dot per round, and a word where a cell was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Axes
from . import style
from .intervals import interval
from .numbers import digits
from .scales import ROOM, scale_values, spans_a_decade
from .series import Cell, group_ticks, looks, means_note, name_few, positions

_BAR = 0.8
_HIGHEST = 1.25  # of the highest round: where the number stands over an interval that goes on
_CROWDED = 14  # bars side by side whose numbers would run into one another


def draw_bars(ax: Axes, found: Sequence[Cell], column: str, scale: float, hatches: Mapping[str, str]) -> str:
    """Draw the bars and return a caption that says what the marks are.

    Where values span more than a decade they are points on a logarithmic axis: bars would have no zero to begin at.

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
    everything = [value for rounds in values.values() for value in rounds]
    is_logarithmic = spans_a_decade(everything)
    rotation = 90.0 if len(found) > style.current().columns(_CROWDED) else 0.0
    for cell, x in zip(found, places, strict=True):
        rounds = values[cell.cell_id]
        if not rounds:
            ax.annotate("n/a", (x, 0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                        ha="center", fontsize=style.SMALL, color=style.MUTED)  # fmt: skip
            continue
        speed = scale_mean(rounds)
        mean = speed.value or 0.0
        own = look[cell.series]
        if is_logarithmic:
            ax.plot([x], [mean], own.marker, color=own.colour, label=cell.series)
        else:
            hatch = hatches.get(cell.cell_id, "") + own.hatch
            ax.bar(x, mean, _BAR, color=own.colour, label=cell.series, hatch=hatch or None, linewidth=0)
        interval(ax, x, (speed.low, speed.high), along="y", colour=own.colour if is_logarithmic else style.INK)
        if len(rounds) > 1:
            ax.plot([x] * len(rounds), rounds, ".", color=style.INK, markersize=3, gid=style.ROUNDS)
        top = min(max(speed.high or mean, *rounds, mean), max(everything) * _HIGHEST)
        _say(ax, digits(mean), (x, top), rotation)
    scale_values(ax, "y", everything, room=ROOM + (0.1 if rotation else 0))
    group_ticks(ax, found, places)
    style.legend_above(ax)
    return bars_note((len(rounds) for rounds in values.values() if rounds), is_logarithmic=is_logarithmic)


def bars_note(counts: Iterable[int], *, is_logarithmic: bool = False) -> str:
    """Say what bar or point, whisker and dots are, given the rounds behind each."""
    known = list(counts)
    return (
        f"{'Point' if is_logarithmic else 'Bar'}: {means_note(known)}{'' if set(known) <= {1} else '; dots: rounds'}."
    )


def _say(ax: Axes, text: str, place: tuple[float, float], rotation: float) -> None:
    ax.annotate(text, place, (0, 3), textcoords="offset points", ha="center", fontsize=style.SMALL, rotation=rotation)


def without(found: Sequence[Cell], column: str) -> str:
    """Name the cells that have no value in ``column``, the first few of many; empty where all have one."""
    return name_few(cell.name for cell in found if not cell.column(column))
