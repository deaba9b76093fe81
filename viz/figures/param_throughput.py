"""Weight bytes that decoding went through each second, whatever of them the engine read from memory."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ...core.errors import UsageError
from ..drawing import style
from ..drawing.bars import draw_bars, without
from ..drawing.series import CELL_COLUMNS, cells

COLUMN = "param_throughput_bytes_per_s"
SQL = f"""
SELECT {CELL_COLUMNS}, r.round, m.{COLUMN}
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.cell_id, r.round
"""
UNKNOWN = "the log tells no weight bytes or no model evaluations"


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per cell."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    missing = without(found, COLUMN)
    if not any(cell.column(COLUMN) for cell in found):
        raise UsageError(f"nothing to draw for {missing}: {UNKNOWN}", code="data-missing")
    caption = (
        draw_bars(ax, found, COLUMN, 1e9, {})
        + " First step left out.\nAll weight bytes times model evaluations, over step time."
    )
    ax.set_ylabel("parameter throughput (GB/s)")
    style.note(ax, caption + (f"\nn/a ({missing}): {UNKNOWN}." if missing else ""))


FIGURE = Figure(id="param_throughput", title="Parameter throughput while decoding", sql=SQL, draw=draw)
