"""How long a step takes, and the first step apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...collate.statistics.noise import supports_percentile
from ...core.contract.figure import Axes, Figure, Panels, Row
from ..drawing import style
from ..drawing.labels import LABEL
from ..drawing.scales import number_plainly
from ..drawing.series import CELL_COLUMNS, Cell, cells, group_ticks, looks, name_few, positions

_FEW = 12  # values that are drawn one by one; quartiles of so few have no interval
# Quantiles come from the query: an experiment has millions of steps and a box needs six numbers. Samples stand in for
# steps where no log of the experiment has any.
SQL = f"""
WITH timed AS (
    SELECT s.run_id, true AS is_step, s."index" = 0 AS is_first, s.step_s AS seconds, s.tokens
    FROM steps s JOIN samples p ON p.run_id = s.run_id AND p."index" = s.sample
    WHERE p.status = 'ok' AND NOT p.is_warmup AND s.step_s > 0
    UNION ALL
    SELECT m.run_id, false, part.is_first, part.seconds, 1
    FROM sample_metrics m, unnest([
        {{'is_first': false, 'seconds': coalesce(m.tpot_s, 1 / nullif(m.e2e_tokens_per_s, 0))}},
        {{'is_first': true, 'seconds': coalesce(m.first_token_s, m.prefill_s)}}
    ]) AS parts(part)
    WHERE m.status = 'ok' AND NOT m.is_warmup AND part.seconds > 0
        AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = m.run_id)
)
SELECT {CELL_COLUMNS}, is_step, is_first, count(*) AS n, sum(tokens) AS tokens,
       quantile_cont(seconds, 0.05) AS p5, quantile_cont(seconds, 0.25) AS p25, median(seconds) AS p50,
       quantile_cont(seconds, 0.75) AS p75, quantile_cont(seconds, 0.95) AS p95, max(seconds) AS largest,
       CASE WHEN count(*) <= {_FEW} THEN list(seconds ORDER BY seconds) END AS few
FROM timed JOIN runs r ON r.run_id = timed.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
GROUP BY ALL
ORDER BY r.cell_id, is_first
"""
LOG_FROM = 8.0
LABELS = {
    (True, False): "step after the first (ms)",
    (True, True): "first step, prefill included (ms)",
    (False, False): "mean time per token of a sample (ms)",
    (False, True): "first token, or prompt alone (ms)",
}


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a box per cell: later steps above, first steps below."""
    has_steps = any(row["is_step"] for row in rows)
    everything = cells(rows)  # names and places come from all cells, so that both panels line up
    shown = [row for row in rows if bool(row["is_step"]) is has_steps]
    for ax, is_first in zip(style.panels(axes), (False, True), strict=True):
        _panel(ax, everything, [row for row in shown if bool(row["is_first"]) is is_first])
        ax.set_ylabel(LABELS[has_steps, is_first])
    style.legend_above(style.panels(axes)[0])
    style.note(style.panels(axes)[-1], _caption(everything, shown, has_steps))


def _panel(ax: Axes, everything: Sequence[Cell], shown: Sequence[Row]) -> None:
    look = looks(everything)
    places = dict(zip((cell.cell_id for cell in everything), positions(everything), strict=True))
    for cell in everything:
        for row in cell.rows:
            if row in shown:
                _mark(ax, places[cell.cell_id], row, look[cell.series].colour, cell.series)
    if not shown:
        ax.text(0.5, 0.5, "no log has it", transform=ax.transAxes, ha="center", color=style.MUTED)
    if _shared_count(shown) is None:
        for row in shown:
            place = (places[row["cell_id"]], row["largest"] * 1e3)
            ax.annotate(_count(row), place, (0, 4), textcoords="offset points", ha="center", fontsize=style.SMALL,
                        color=style.MUTED, gid=LABEL)  # fmt: skip
    _axis(ax, shown)
    group_ticks(ax, everything, list(places.values()))


def _mark(ax: Axes, x: float, row: Row, colour: str, label: str) -> None:
    """Draw a box where there are values enough for quartiles, else every value."""
    if supports_percentile(row["n"], 0.25):
        drawn = ax.bxp([_box(row)], positions=[x], widths=0.62, showfliers=False, patch_artist=True,
               boxprops={"facecolor": colour, "edgecolor": style.INK, "linewidth": 0.8},
               medianprops={"color": style.INK, "linewidth": 1.6}, manage_ticks=False)  # fmt: skip
        drawn["boxes"][0].set_label(label)
        ax.plot([x], [row["largest"] * 1e3], "x", color=style.MUTED, markersize=4)
    else:
        values = [seconds * 1e3 for seconds in row["few"] or ()]
        ax.plot([x] * len(values), values, "o", color=colour, markersize=5, markeredgecolor=style.INK,
                markeredgewidth=0.5, label=label)  # fmt: skip
        if supports_percentile(row["n"], 0.5):
            ax.plot([x - 0.3, x + 0.3], [row["p50"] * 1e3] * 2, color=style.INK, linewidth=1.6)


def _axis(ax: Axes, rows: Sequence[Row]) -> None:
    lowest = min((row["p5"] for row in rows), default=0.0) * 1e3
    highest = max((row["largest"] for row in rows), default=0.0) * 1e3
    if lowest > 0 and highest / lowest > LOG_FROM:
        ax.set_yscale("log")
        ax.set_ylim(lowest / 1.5, highest * (highest / lowest) ** 0.16)
        number_plainly(ax.yaxis)
    elif highest > 0:
        ax.set_ylim(0, highest * 1.24)


def _box(row: Row) -> dict[str, Any]:
    """Return the box in ms; whiskers only where the 5th and the 95th percentile can be told."""
    names = {"q1": "p25", "med": "p50", "q3": "p75", "whislo": "p25", "whishi": "p75"}
    if supports_percentile(row["n"], 0.95):
        names |= {"whislo": "p5", "whishi": "p95"}
    return {**{key: row[column] * 1e3 for key, column in names.items()}, "label": ""}


def _count(row: Row) -> str:
    """State n, and the tokens per step where a step commits several: such steps are not per-token latencies."""
    tokens = (row.get("tokens") or 0) / row["n"]
    return f"n={row['n']}" + (f"\n{tokens:.1f} tok/step" if tokens > 1.005 and not row["is_first"] else "")


def _shared_count(rows: Sequence[Row]) -> str | None:
    """Return what ``_count`` says of every row of a panel, which the caption then says once; None where they differ."""
    counts = {_count(row) for row in rows}
    return counts.pop() if len(counts) == 1 and len(rows) > 1 else None


def _counts(shown: Sequence[Row], has_steps: bool) -> str:
    """Say what n counts, and how many where that is the same for all cells."""
    shared = (
        (name, _shared_count([row for row in shown if bool(row["is_first"]) is is_first]))
        for name, is_first in (("after the first", False), ("first", True))
    )
    counts = ", ".join(f"{name}: " + count.replace("\n", ", ") for name, count in shared if count)
    return f"n: {'steps' if has_steps else 'samples'} over all rounds, warm-up left out{counts and f' ({counts})'}."


def _caption(everything: Sequence[Cell], shown: Sequence[Row], has_steps: bool) -> str:
    counts = [row["n"] for row in shown]
    parts = []
    if any(supports_percentile(n, 0.25) for n in counts):
        parts.append("Line: median; box: quartiles; cross: slowest.")
    if any(supports_percentile(n, 0.95) for n in counts):
        parts.append("Whiskers: 5th and 95th percentile, from n = 72 on.")
    if not all(supports_percentile(n, 0.25) for n in counts):
        parts.append("Dots: every value, where n is too small for quartiles.")
    parts.append(_counts(shown, has_steps))
    if not has_steps:
        parts.append("No log has single steps.")
    missing = name_few(cell.name for cell in everything if not any(row in shown for row in cell.rows))
    return " ".join(parts) + (f"\nNot drawn ({missing}): the log has no steps." if missing else "")


FIGURE = Figure(
    id="latency_distribution", title="Step latency by backend and quantisation", sql=SQL, draw=draw, panels=2,
    needs="finished rounds with the times of their steps or samples",
)  # fmt: skip
