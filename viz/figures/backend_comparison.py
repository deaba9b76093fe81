"""Throughput of each backend, grouped by quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.figure import Figure, Row
from .. import style
from ..intervals import mean_interval
from ..numbers import digits
from ..series import CELL_COLUMNS, cells, group_ticks, looks, positions, rounds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQL = f"""
SELECT {CELL_COLUMNS}, r.round, m.decode_tokens_per_s
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND m.decode_tokens_per_s IS NOT NULL
ORDER BY r.cell_id, r.round
"""
BAR = 0.8


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw a bar per cell with its interval, and a dot per round."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    look = looks(found)
    places = positions(found)
    highest = max(max(cell.column("decode_tokens_per_s")) for cell in found)
    for cell, x in zip(found, places, strict=True):
        values = cell.column("decode_tokens_per_s")
        mean, low, high = mean_interval(values)
        ax.bar(x, mean, BAR, color=look[cell.series].colour, label=cell.series)
        if low is not None and high is not None:
            # the t interval of a few noisy rounds may reach below zero or far off: the axis stays with the data
            ax.errorbar(x, mean, [[mean - low], [high - mean]], color=style.INK, capsize=3, linewidth=1.1)
        ax.plot([x] * len(values), values, ".", color=style.INK, markersize=3)
        top = min(max(high or mean, *values), highest * 1.3)
        ax.annotate(digits(mean), (x, top), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
    ax.set_ylim(0, highest * 1.42)
    ax.set_ylabel("decode throughput (tokens/s)")
    group_ticks(ax, found, places)
    style.note(
        ax,
        "Bar: mean over rounds; whisker: 95 % t interval; dots: rounds. "
        + rounds_note(len(cell.rows) for cell in found)
        + ". First step left out.",
    )
    style.legend_above(ax)


FIGURE = Figure(
    id="backend_comparison",
    title="Decode throughput by backend and quantisation",
    sql=SQL,
    draw=draw,
    needs="finished rounds with at least two steps per sample (decode throughput leaves the first step out)",
)
