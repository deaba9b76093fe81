"""How throughput and time per token change with the number of requests in flight, or with their rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...collate.load.break_even import Crossing
from ...collate.load.curves import THROUGHPUT
from ...core.contract.figure import Axes, Figure, Panels, Row
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.loads import AXIS_LABELS, LOADS_SQL, NEEDS, Curve, break_evens, curves
from ..drawing.scales import scale_values
from ..drawing.series import means_note

PANELS = ((THROUGHPUT, 1.0, "throughput of all requests (tokens/s)"), ("tpot_mean_s", 1e3, "time per token (ms)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line per engine: throughput above, time per output token of a request below."""
    axis, found = curves(rows)
    for ax, (column, scale, label) in zip(style.panels(axes), PANELS, strict=True):
        for curve in found:
            _line(ax, curve, column, scale)
        ax.set_ylabel(label)
        values = [
            row[column] * scale for curve in found for each in curve.points.values() for row in each if row[column]
        ]
        scale_values(ax, "y", values)
        loads = sorted({load for curve in found for load in curve.points})
        ax.set_xscale("log", base=2)
        ax.set_xticks(loads, [f"{load:g}" for load in loads])
        ax.minorticks_off()
    crossed = break_evens(found)
    for curve, one in crossed:
        _mark(style.panels(axes)[0], curve, one)
    style.legend_above(style.panels(axes)[0])
    counts = [len(each) for curve in found for each in curve.points.values()]
    caption = f"Point: {means_note(counts)}. Ring: the knee, the last load at which throughput still rises by 10 % per "
    caption += "doubling."
    unreached = [curve.name for curve in found if curve.knee is None]
    if unreached:
        caption += f" Not reached by {', '.join(unreached)}."
    if crossed:
        caption += " Dashed: where a curve crosses the baseline's; shaded: its 95 % interval."
    style.note(style.panels(axes)[-1], caption, label=f"{AXIS_LABELS[axis]} (logarithmic)")


def _mark(ax: Axes, curve: Curve, one: Crossing) -> None:
    """Mark the load at which a curve crosses the baseline's, and its interval; an open end reaches the axis."""
    left, right = ax.get_xlim()
    ax.axvline(one.at, color=curve.look.colour, linestyle="--", linewidth=1.2)
    if one.n > 1:
        ax.axvspan(
            one.low or left, one.high or right, color=curve.look.colour, alpha=0.12, linewidth=0, gid=style.GROUND
        )
        ax.set_xlim(left, right)
    ax.annotate(f"{one.at:.3g}", (one.at, 0), (4, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
                fontsize=style.SMALL)  # fmt: skip


def _line(ax: Axes, curve: Curve, column: str, scale: float) -> None:
    points = curve.figure(column, scale)
    values = [math.nan if point.value is None else point.value for point in points.values()]
    colour, marker = curve.look.colour, curve.look.marker
    ax.plot(list(points), values, color=colour, marker=marker, label=curve.name)
    for load, point in points.items():
        interval(ax, load, (point.low, point.high), along="y", colour=colour)
    if curve.knee in points:
        ax.plot(
            [curve.knee],
            [values[list(points).index(curve.knee)]],
            "o",
            markersize=13,
            fillstyle="none",
            color=style.INK,
            gid=style.GROUND,
        )


FIGURE = Figure(
    id="load_throughput", title="Throughput and time per token under load", sql=LOADS_SQL, draw=draw, panels=2,
    needs=NEEDS, topic="load",
)  # fmt: skip
