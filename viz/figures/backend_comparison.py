"""Throughput of each backend, grouped by quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.figure import Figure, Row
from .. import style
from ..bars import draw_bars, without
from ..series import CELL_COLUMNS, SPEED_COLUMNS, cells, speed_label, speed_note, speed_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQL = f"""
SELECT {CELL_COLUMNS}, r.round, {SPEED_COLUMNS}
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.cell_id, r.round
"""


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw a bar per cell with its interval, and a dot per round."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    speed = speed_of(found)
    caption = f"{draw_bars(ax, found, speed.name, 1.0, {})} {speed_note(speed)}"
    missing = without(found, speed.name)
    ax.set_ylabel(speed_label(speed))
    style.note(ax, caption + (f"\nn/a ({missing}): the log does not tell it." if missing else ""))


FIGURE = Figure(
    id="backend_comparison", title="Throughput by backend and quantisation", sql=SQL, draw=draw,
    needs="finished rounds",
)  # fmt: skip
