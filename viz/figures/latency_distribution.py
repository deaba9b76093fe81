"""How long a step takes, and the first step apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...core.figure import Figure, Row
from .. import style
from ..series import CELL_COLUMNS, cells, group_ticks, looks, positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Quantiles come from the query: an experiment has millions of steps and a box needs six numbers.
SQL = f"""
SELECT {CELL_COLUMNS}, s."index" = 0 AS is_first, count(*) AS n, sum(s.tokens) AS tokens,
       quantile_cont(s.step_s, 0.05) AS p5, quantile_cont(s.step_s, 0.25) AS p25, median(s.step_s) AS p50,
       quantile_cont(s.step_s, 0.75) AS p75, quantile_cont(s.step_s, 0.95) AS p95, max(s.step_s) AS largest
FROM steps s
JOIN samples p ON p.run_id = s.run_id AND p."index" = s.sample
JOIN runs r ON r.run_id = s.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND p.status = 'ok' AND NOT p.is_warmup AND s.step_s > 0
GROUP BY ALL
ORDER BY r.cell_id, is_first
"""
LOG_FROM = 8.0
PANELS = ((False, "step after the first (ms)"), (True, "first step, prefill included (ms)"))


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw a box per cell: later steps above, first steps below."""
    for ax, (is_first, label) in zip(style.panels(axes), PANELS, strict=True):
        _panel(ax, rows, is_first)
        ax.set_ylabel(label)
    style.legend_above(style.panels(axes)[0])
    style.note(
        style.panels(axes)[-1],
        "Line: median; box: quartiles; whiskers: 5th and 95th percentile; cross: slowest. "
        "n: steps over all rounds, warm-up left out.",
    )


def _panel(ax: Axes, rows: Sequence[Row], is_first: bool) -> None:
    everything = cells(rows)  # names and places come from all cells, so that both panels line up
    look = looks(everything)
    places = dict(zip((cell.cell_id for cell in everything), positions(everything), strict=True))
    shown = [(cell, row) for cell in everything for row in cell.rows if bool(row["is_first"]) is is_first]
    for cell, row in shown:
        x, colour = places[cell.cell_id], look[cell.series].colour
        ax.bxp([_box(row)], positions=[x], widths=0.62, showfliers=False, patch_artist=True,
               boxprops={"facecolor": colour, "edgecolor": style.INK, "linewidth": 0.8},
               medianprops={"color": style.INK, "linewidth": 1.6}, manage_ticks=False)  # fmt: skip
        ax.plot([x], [row["largest"] * 1e3], "x", color=style.MUTED, markersize=4)
        ax.bar(x, 0, color=colour, label=cell.series)  # an empty bar for the legend: boxes carry no label
        ax.annotate(_count(row), (x, row["largest"] * 1e3), (0, 4), textcoords="offset points", ha="center",
                    fontsize=7, color=style.MUTED)  # fmt: skip
    _axis(ax, [row for _, row in shown])
    group_ticks(ax, everything, list(places.values()))


def _axis(ax: Axes, rows: Sequence[Row]) -> None:
    lowest = min((row["p5"] for row in rows), default=0.0) * 1e3
    highest = max((row["largest"] for row in rows), default=0.0) * 1e3
    if lowest > 0 and highest / lowest > LOG_FROM:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(lowest / 1.5, highest * 2)
    elif highest > 0:
        ax.set_ylim(0, highest * 1.18)


def _box(row: Row) -> dict[str, Any]:
    names = {"whislo": "p5", "q1": "p25", "med": "p50", "q3": "p75", "whishi": "p95"}
    return {**{key: row[column] * 1e3 for key, column in names.items()}, "label": ""}


def _count(row: Row) -> str:
    """State n, and the tokens per step where a step commits several: such steps are not per-token latencies."""
    tokens = (row.get("tokens") or 0) / row["n"]
    return f"n={row['n']}" + (f"\n{tokens:.1f} tok/step" if tokens > 1.005 and not row["is_first"] else "")


FIGURE = Figure(
    id="latency_distribution",
    title="Step latency by backend and quantisation",
    sql=SQL,
    draw=draw,
    panels=2,
    needs="finished rounds with their steps",
)
