"""Throughput of each backend, grouped by quantisation."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.bars import draw_bars, without
from ..drawing.series import CELL_COLUMNS, SPEED_COLUMNS, cells, speed_label, speed_note, speed_of

SQL = f"""
SELECT {CELL_COLUMNS}, r.round, {SPEED_COLUMNS}
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.cell_id, r.round
"""
_MOST_EMPTY = 3  # places for cells that have no value; more would leave the others no room


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per cell with its interval, and a dot per round."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    speed = speed_of(found)
    missing = without(found, speed.name)
    known = [cell for cell in found if cell.column(speed.name)]
    is_crowded = len(found) - len(known) > _MOST_EMPTY
    drawn = cells([row for cell in known for row in cell.rows]) if is_crowded else found  # named among themselves
    caption = f"{draw_bars(ax, drawn, speed.name, 1.0, {})} {speed_note(speed)}"
    ax.set_ylabel(speed_label(speed))
    word = "Not drawn" if is_crowded else "n/a"
    style.note(ax, caption + (f"\n{word} ({missing}): the log does not tell it." if missing else ""))


FIGURE = Figure(
    id="backend_comparison", title="Throughput by backend and quantisation", sql=SQL, draw=draw,
    needs="finished rounds",
)  # fmt: skip
