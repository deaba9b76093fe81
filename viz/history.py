"""A metric over the experiments of a folder, a line for each cell that was measured more than once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..collate.comparison.history import History, Series
from ..core.errors import UsageError
from ..core.files import write_whole
from ..core.records.metrics import METRICS
from .drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
_MOST_LINES = len(style.PALETTE)


def draw_history(history: History, path: Path) -> Path:
    """Draw a history into a file and return its path; points are evenly spaced, one for each experiment.

    Args:
        history: whose cells with several points are drawn, at most one for each colour.
        path: the file; its ending says the format.

    Raises:
        UsageError: the ending is none of png, svg and pdf, or no cell was measured more than once.
        DecodebenchError: the file cannot be written.
    """
    fmt = path.suffix.lower().removeprefix(".")
    if fmt not in FORMATS:
        raise UsageError(f"{path} must end in one of {', '.join(FORMATS)}", code="wrong-suffix")
    lines = [one for one in history.series if len(one.points) > 1]
    if not lines:
        raise UsageError(
            "no cell was measured in more than one experiment: there is nothing to draw a line through",
            code="data-missing",
        )
    starts = {point.experiment: point.started_at for one in reversed(lines) for point in one.points}
    order = sorted(starts, key=lambda name: (starts[name], name))
    metric = METRICS[history.metric]
    with style.applied("history"):
        canvas, (axes,) = style.canvas(f"{metric.label} over experiments")
        for one, colour in zip(lines[:_MOST_LINES], style.PALETTE, strict=False):
            places = [order.index(point.experiment) for point in one.points]
            values = [point.value.value or 0.0 for point in one.points]
            axes.plot(places, values, color=colour, marker="o", label=one.cell)
            _draw_intervals(axes, one, places, colour)
        axes.set_xticks(range(len(order)), order, rotation=30, ha="right")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{metric.label} ({history.unit})" if history.unit else metric.label)
        style.legend_above(axes)
        left_out = f" {len(lines) - _MOST_LINES} more cells are not drawn." if len(lines) > _MOST_LINES else ""
        style.note(axes, f"Bar: 95 % interval over rounds. Experiments ran at different times.{left_out}")
        return write_whole(path, style.to_bytes(canvas, fmt))


def _draw_intervals(axes: Axes, one: Series, places: list[int], colour: str) -> None:
    for place, point in zip(places, one.points, strict=True):
        if point.value.low is not None and point.value.high is not None:
            axes.plot([place, place], [point.value.low, point.value.high], color=colour, linewidth=1.0)
