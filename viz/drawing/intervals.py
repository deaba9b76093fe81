"""The line of an interval beside its mean, and the arrow where it reaches beyond the axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from ...core.contract.figure import Axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

INTERVAL = "interval"
"""``gid`` of the line of an interval, by which it is found again."""
ARROW = "goes on"
"""``gid`` of the arrow at the end of an interval that the axes cut."""

Along = Literal["x", "y"]


def interval(
    axes: Axes, at: float, ends: tuple[float | None, float | None], *, along: Along, colour: str, width: float = 1.2
) -> None:
    """Draw an interval; nothing where it has no ends, as that of one round.

    Args:
        axes: what it is drawn in.
        at: where its mean stands on the other axis.
        ends: the lower and the upper one.
        along: the axis of the values.
        colour: of the line.
        width: of the line, in points.
    """
    low, high = ends
    if low is None or high is None:
        return
    place = ([low, high], [at, at]) if along == "x" else ([at, at], [low, high])
    axes.plot(*place, color=colour, linewidth=width, solid_capstyle="butt", gid=INTERVAL)


def mark_ends(canvas: Canvas) -> None:
    """Put an arrow at each end of an interval that lies beyond its axes; call it when their limits are final."""
    for axes in canvas.axes:
        lines = [line for line in axes.lines if line.get_gid() == INTERVAL]
        if not lines:
            continue
        limits = axes.get_xlim(), axes.get_ylim()  # only now does matplotlib reckon them
        axes.set_xlim(limits[0])  # an arrow at the edge must not move it
        axes.set_ylim(limits[1])
        for line in lines:
            for x, y, marker in _cut(axes, line):
                axes.plot([x], [y], marker=marker, color=line.get_color(), markersize=6, clip_on=False, gid=ARROW,
                          zorder=line.get_zorder())  # fmt: skip


def _cut(axes: Axes, line: Line2D) -> Iterator[tuple[float, float, int]]:
    """Yield place and marker of each arrow that a line needs."""
    import numpy as np
    from matplotlib.markers import CARETDOWN, CARETLEFT, CARETRIGHT, CARETUP

    (x1, y1), (x2, y2) = np.asarray(line.get_xydata()).tolist()
    left, right = sorted(axes.get_xlim())
    bottom, top = sorted(axes.get_ylim())
    is_turned = axes.xaxis_inverted()
    if y1 == y2:
        if min(x1, x2) < left:
            yield left, y1, CARETRIGHT if is_turned else CARETLEFT
        if max(x1, x2) > right:
            yield right, y1, CARETLEFT if is_turned else CARETRIGHT
    else:
        if min(y1, y2) < bottom:
            yield x1, bottom, CARETDOWN
        if max(y1, y2) > top:
            yield x1, top, CARETUP
