"""Bytes that decoding read from memory each second."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from ..drawing import style
from ..drawing.bars import draw_bars, without
from ..drawing.series import CELL_COLUMNS, Cell, cells, positions

SQL = f"""
WITH reads AS (
    SELECT run_id, sum(decode_bytes) / sum(decode_bytes_s) AS bytes_per_s,
        sum(decode_bytes_s * bandwidth_bytes_per_s) / sum(decode_bytes_s) FILTER (WHERE bandwidth_bytes_per_s > 0)
            AS peak_bytes_per_s,
        bool_or(bytes_source = 'computed') AS is_computed
    FROM sample_facts WHERE NOT is_warmup AND decode_bytes IS NOT NULL AND decode_bytes_s > 0 GROUP BY run_id
)
SELECT {CELL_COLUMNS}, r.round, f.bytes_per_s, f.peak_bytes_per_s, f.is_computed
FROM runs r LEFT JOIN reads f ON f.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.cell_id, r.round
"""
UNKNOWN = "the engine does not count what it reads, and the sizes of weights and KV cache do not tell it"
HATCH = "///"


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per cell, hatched where the bytes were computed from sizes."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    missing = without(found, "bytes_per_s")
    if not any(cell.column("bytes_per_s") for cell in found):
        raise UsageError(f"nothing to draw for {missing}: {UNKNOWN}", code="data-missing")
    computed = [cell.cell_id for cell in found if any(row["is_computed"] for row in cell.rows)]
    caption = f"{draw_bars(ax, found, 'bytes_per_s', 1e9, dict.fromkeys(computed, HATCH))} First step left out."
    caption += "\n" + _peaks(ax, found)
    ax.set_ylabel("memory throughput (GB/s)")
    if computed:
        caption += " Striped: computed from the sizes of weights and KV cache; else counted by the engine."
    style.note(ax, caption + (f"\nn/a ({missing}): {UNKNOWN}." if missing else ""))


def _peaks(ax: Axes, found: Sequence[Cell]) -> str:
    """Draw what the device's memory gives at each cell's working set, and say so."""
    highest = 0.0
    for cell, x in zip(found, positions(found), strict=True):
        peaks = cell.column("peak_bytes_per_s")
        if peaks and cell.column("bytes_per_s"):
            peak = fmean(peaks) / 1e9
            ax.plot([x - 0.5, x + 0.5], [peak, peak], color=style.INK, linewidth=1.6, label="peak of the device",
                    gid=style.GROUND)  # fmt: skip
            highest = max(highest, peak)
    if not highest:
        return "No line for the device's peak: the logs do not tell its bandwidth."
    ax.set_ylim(top=max(ax.get_ylim()[1], highest * 1.1))
    style.legend_above(ax)
    return "Line: what the device reads per second, measured with the same working set and threads."


FIGURE = Figure(id="memory_throughput", title="Memory throughput while decoding", sql=SQL, draw=draw)
