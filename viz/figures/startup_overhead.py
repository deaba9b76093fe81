"""What a round takes before its first token is worth timing: imports, loading, a slow first sample."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, TOPIC, modes, name_rows
from ..drawing.series import CELL_COLUMNS

SQL = f"""
WITH paced AS (
    SELECT s.run_id, s."index", s.duration_s, s.output_tokens,
        row_number() OVER (PARTITION BY s.run_id ORDER BY s."index") AS place
    FROM samples s WHERE s.status = 'ok' AND s.duration_s IS NOT NULL
), pace AS (
    SELECT run_id, sum(duration_s) FILTER (WHERE place > 1) / sum(output_tokens) FILTER (WHERE place > 1) AS per_token_s
    FROM paced GROUP BY 1
)
SELECT {CELL_COLUMNS}, r.cell_index, r.round, r.import_s,
    r.load_s, greatest(0, f.duration_s - f.output_tokens * p.per_token_s) AS excess_s
FROM runs r LEFT JOIN paced f ON f.run_id = r.run_id AND f.place = 1 LEFT JOIN pace p ON p.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND r.kind = 'speculative' AND r.import_s IS NOT NULL
ORDER BY r.cell_index, r.cell_id, r.round
"""
PARTS = (("import_s", "imports", 5), ("load_s", "loading", 0), ("excess_s", "excess of the first sample", 1))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a stacked bar per mode: means over rounds."""
    (ax,) = style.panels(axes)
    found = modes(rows, "import_s")
    for mode, place in zip(found, name_rows(ax, found), strict=True):
        left = 0.0
        for column, label, slot in PARTS:
            values = mode.column(column)
            seconds = fmean(values) if values else 0.0
            ax.barh(place, seconds, left=left, height=0.6, color=style.PALETTE[slot], label=label)
            left += seconds
        ax.annotate(f"{left:.2g} s, n={len(mode.rows)}", (left, place), (5, 0), textcoords="offset points", va="center",
                    fontsize=style.SMALL)  # fmt: skip
    ax.margins(x=0.16)
    style.legend_above(ax)
    style.note(
        ax,
        "Excess: beyond what the first sample's tokens take at the pace of the others, warm-up included. n: rounds.",
        label="seconds, mean over rounds",
    )


FIGURE = Figure(id="startup_overhead", title="Start-up overhead", sql=SQL, draw=draw, needs=NEEDS, topic=TOPIC)
