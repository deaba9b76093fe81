"""What latency a throughput costs: one point per load, the knee marked."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.load.curves import THROUGHPUT
from ...core.contract.figure import Axes, Figure, Panels, Row
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.labels import LABEL
from ..drawing.loads import AXIS_LABELS, LOADS_SQL, NEEDS, Curve, curves
from ..drawing.scales import scale_values
from ..drawing.series import means_note


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line per engine over throughput: latency of a request, each point named by its load."""
    (ax,) = style.panels(axes)
    axis, found = curves(rows)
    for curve in found:
        _line(ax, curve)
    ax.set_ylabel("latency of a request (ms)")
    scale_values(ax, "y", [1e3 * row["e2e_s"] for row in _rows(found) if row["e2e_s"]])
    scale_values(ax, "x", [row[THROUGHPUT] for row in _rows(found)])
    style.legend_above(ax)
    counts = [len(each) for curve in found for each in curve.points.values()]
    style.note(
        ax,
        f"Point: {means_note(counts)}. Number: {AXIS_LABELS[axis]}, where there is room. Latency counts from "
        "when a request was due until "
        "its last token. Ring: the knee, the last load at which throughput still rises by 10 % per doubling.",
        label="throughput of all requests (tokens/s)",
    )


def _rows(found: Sequence[Curve]) -> list[Row]:
    return [row for curve in found for rows in curve.points.values() for row in rows]


def _line(ax: Axes, curve: Curve) -> None:
    speeds, latencies = curve.figure(THROUGHPUT), curve.figure("e2e_s", 1e3)
    loads = [load for load in speeds if load in latencies]
    xs, ys = ([figure[load].value or 0.0 for load in loads] for figure in (speeds, latencies))
    ax.plot(xs, ys, color=curve.look.colour, marker=curve.look.marker, label=curve.name)
    for load, x, y in zip(loads, xs, ys, strict=True):
        ax.annotate(f"{load:g}", (x, y), (5, 5), textcoords="offset points", fontsize=style.SMALL, gid=LABEL)
        interval(ax, y, (speeds[load].low, speeds[load].high), along="x", colour=curve.look.colour, width=1.0)
        interval(ax, x, (latencies[load].low, latencies[load].high), along="y", colour=curve.look.colour, width=1.0)
        if load == curve.knee:
            ax.plot([x], [y], "o", markersize=13, fillstyle="none", color=style.INK, gid=style.GROUND)


FIGURE = Figure(
    id="load_latency", title="Latency against throughput", sql=LOADS_SQL, draw=draw, needs=NEEDS, topic="load",
)  # fmt: skip
