"""Bytes that decoding read from memory each second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from ...core.figure import Figure, Row
from .. import style
from ..bars import draw_bars, without
from ..series import CELL_COLUMNS, cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQL = f"""
WITH reads AS (
    SELECT run_id, sum(decode_bytes) / sum(decode_bytes_s) AS bytes_per_s,
        bool_or(bytes_source = 'computed') AS is_computed
    FROM sample_facts WHERE NOT is_warmup AND decode_bytes IS NOT NULL AND decode_bytes_s > 0 GROUP BY run_id
)
SELECT {CELL_COLUMNS}, r.round, f.bytes_per_s, f.is_computed
FROM runs r LEFT JOIN reads f ON f.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.cell_id, r.round
"""
UNKNOWN = "the engine does not count what it reads, and the sizes of weights and KV cache do not tell it"
HATCH = "///"


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw a bar per cell, hatched where the bytes were computed from sizes."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    missing = without(found, "bytes_per_s")
    if not any(cell.column("bytes_per_s") for cell in found):
        raise UsageError(f"figure 'memory_throughput': nothing to draw for {missing}: {UNKNOWN}")
    computed = [cell.cell_id for cell in found if any(row["is_computed"] for row in cell.rows)]
    caption = draw_bars(ax, found, "bytes_per_s", 1e9, dict.fromkeys(computed, HATCH))
    ax.set_ylabel("memory throughput while decoding (GB/s)")
    if computed:
        caption += "\nHatched: computed from the sizes of weights and KV cache; plain: counted by the engine."
    style.note(ax, caption + (f"\nn/a ({missing}): {UNKNOWN}." if missing else ""))


FIGURE = Figure(id="memory_throughput", title="Memory throughput while decoding", sql=SQL, draw=draw)
