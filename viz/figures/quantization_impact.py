"""What fewer bits per weight buy in speed and cost in accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.intervals import Interval, scale_mean
from ...core.contract.figure import Axes, Figure, Panels, Row
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.labels import folded
from ..drawing.scales import scale_values
from ..drawing.series import Cell, Look, cells, looks, means_note, name_few, speed_label, speed_note, speed_of
from ..terminal.accuracy import accuracy_note, accuracy_of
from .backend_comparison import SQL

NEAR = 1.2  # formats within 20 % share a tick: int8 (9.4 with its scales) and q8_0 (8.5) would print over each other
DODGE = 1.012  # series are moved apart by a little more than one per cent, so that whiskers do not cover each other


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw throughput above and accuracy below, over bits per weight, one line per series.

    Where a log does not tell the bits per weight, formats stand in the order of their names.
    """
    upper, lower = style.panels(axes)
    found = cells(rows)
    speed = speed_of(found)
    found = [cell for cell in found if cell.column(speed.name)]
    unknown = [cell for cell in found if cell.bits is None]
    at = _by_name(found) if unknown else _by_bits(found)
    look = looks(found)
    for series in sorted(look):
        own = sorted((cell for cell in found if cell.series == series), key=lambda cell: at[cell.cell_id])
        places = [at[cell.cell_id] for cell in own]
        _line(upper, places, [scale_mean(cell.column(speed.name)) for cell in own], series, look[series])
        _line(lower, places, [accuracy_of(cell.rows[0]) for cell in own], series, look[series])
    scale_values(upper, "y", [value for cell in found for value in cell.column(speed.name)])
    upper.set_ylabel(speed_label(speed))
    lower.set_ylabel("accuracy (%)")
    lower.set_ylim(-4, 104)
    for ax in (upper, lower):
        if unknown:
            groups = _names(found)
            ax.set_xticks(range(len(groups)), folded(groups, style.room(ax, 90)))
            ax.set_xlim(-0.5, len(groups) - 0.5)
        else:
            _ticks(ax, found)
    style.legend_above(upper)
    caption = f"Speed: {means_note(len(cell.column(speed.name)) for cell in found)}."
    caption += f" {speed_note(speed)}\n{accuracy_note([row for cell in found for row in cell.rows])}"
    label = "weight format and its measured bits per weight (logarithmic)"
    if unknown:
        label = "weight format, in the order of names"
        caption += f"\nThe logs do not tell the bits per weight of {name_few(cell.name for cell in unknown)}."
    style.note(lower, caption, label=label)
    if not any(accuracy_of(cell.rows[0]).value is not None for cell in found):
        lower.text(0.5, 0.5, "no accuracy: the experiment ran no task with right answers", transform=lower.transAxes,
                   ha="center", color=style.MUTED)  # fmt: skip


def _by_bits(found: Sequence[Cell]) -> dict[str, float]:
    """Return each cell's place on a logarithmic axis, by its id."""
    names = sorted({cell.series for cell in found})
    return {
        cell.cell_id: (cell.bits or 1.0) * DODGE ** (2 * names.index(cell.series) - len(names) + 1) for cell in found
    }


def _by_name(found: Sequence[Cell]) -> dict[str, float]:
    """Return each cell's place among the formats in the order of their names, by its id."""
    groups, series = _names(found), sorted({cell.series for cell in found})
    apart = 0.5 / max(len(series), 4)
    return {
        cell.cell_id: groups.index(cell.group) + apart * (series.index(cell.series) - (len(series) - 1) / 2)
        for cell in found
    }


def _names(found: Sequence[Cell]) -> list[str]:
    return sorted({cell.group for cell in found})


def _line(ax: Axes, places: Sequence[float], points: Sequence[Interval], series: str, look: Look) -> None:
    known = [(x, point, point.value) for x, point in zip(places, points, strict=True) if point.value is not None]
    if not known:
        return
    ax.plot([x for x, _, _ in known], [value for _, _, value in known], look.marker + "-", color=look.colour,
            linewidth=1.4, label=series)  # fmt: skip
    for x, point, _ in known:
        interval(ax, x, (point.low, point.high), along="y", colour=look.colour)


def _ticks(ax: Axes, found: Sequence[Cell]) -> None:
    """Name the formats on a logarithmic axis, most bits on the left; formats of nearly equal size share a tick."""
    from matplotlib.ticker import NullFormatter, NullLocator

    merged: list[list[Cell]] = []
    for cell in sorted(found, key=lambda cell: cell.bits or 0.0):
        if merged and (cell.bits or 0.0) <= (merged[-1][0].bits or 0.0) * NEAR:
            merged[-1].append(cell)
        else:
            merged.append([cell])
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks([_middle(part) for part in merged], [_tick_label(part) for part in merged], fontsize=style.SMALL)
    low, high = min(c.bits or 1.0 for c in found), max(c.bits or 1.0 for c in found)
    ax.set_xlim(high * 1.2, low / 1.2)


def _middle(part: Sequence[Cell]) -> float:
    return sum(cell.bits or 0.0 for cell in part) / len(part)


def _tick_label(part: Sequence[Cell]) -> str:
    bits = sorted({round(cell.bits or 0.0, 1) for cell in part})
    span = f"{bits[0]:g}" if len(bits) == 1 else f"{bits[0]:g}–{bits[-1]:g}"
    return "\n".join([*sorted({cell.group for cell in part}), f"{span} bits"])


FIGURE = Figure(
    id="quantization_impact", title="Speed and accuracy by weight format", sql=SQL, draw=draw, panels=2,
    needs="finished rounds, best of several quantisations",
)  # fmt: skip
