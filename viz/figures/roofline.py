"""How near decoding comes to what the machine's memory allows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from statistics import fmean

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from ...core.records.facts import LADDER_SQL
from ..drawing import style
from ..drawing.bars import without
from ..drawing.intervals import interval
from ..drawing.labels import LABEL
from ..drawing.numbers import percent
from ..drawing.scales import number_plainly
from ..drawing.series import CELL_COLUMNS, Cell, Look, cells, looks, means_note

SQL = f"""
WITH reads AS (
    SELECT run_id, sum(decode_bytes) / sum(decode_bytes_tokens) AS bytes_per_token,
        bool_or(bytes_source = 'computed') AS is_computed
    FROM sample_facts WHERE NOT is_warmup AND decode_bytes > 0 AND decode_bytes_tokens > 0 GROUP BY run_id
), roofs AS (
    SELECT r.run_id, {LADDER_SQL} AS ladder, r.environment->'memory_bandwidth_1_thread' AS one_thread FROM runs r
)
SELECT {CELL_COLUMNS}, r.round, r.parameters, m.decode_tokens_per_s, m.bandwidth_utilisation,
    f.bytes_per_token, f.is_computed, CAST(l.ladder AS VARCHAR) AS ladder, l.ladder = l.one_thread AS is_one_thread,
    CASE WHEN l.ladder IS NOT NULL THEN CAST(r.environment->>'matrix_flops_per_s' AS DOUBLE) END AS flops_per_s
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id JOIN roofs l ON l.run_id = r.run_id
LEFT JOIN reads f ON f.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND m.decode_tokens_per_s IS NOT NULL
ORDER BY r.cell_id, r.round
"""
UNKNOWN = "the bytes that a token reads are not known"
LINES = ("-", "--", ":", "-.")
_LEVELS = (-6, 6)  # points below and above the marker, by turns of series
FLOPS_PER_PARAMETER = 2  # of a token: a product and a sum


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw the machine's roofs and a point with its interval per cell."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    known = [cell for cell in found if cell.column("bytes_per_token")]
    missing = without(found, "bytes_per_token")
    if not known:
        raise UsageError(f"nothing to draw for {missing}: {UNKNOWN}", code="data-missing")
    ax.set_xscale("log")
    ax.set_yscale("log")
    sizes = [size for cell in known for size in cell.column("bytes_per_token")]
    span = (min(sizes) / 2, max(sizes) * 1.5)
    _bandwidth_roofs(ax, known, span)
    _compute_roof(ax, known)
    look = looks(found)
    for cell in known:
        _point(ax, cell, look[cell.series], level=list(look).index(cell.series) % len(_LEVELS))
    ax.set_xlim(*span)
    ax.set_ylim(*_height(known))
    number_plainly(ax.xaxis, unit=1e6)
    number_plainly(ax.yaxis)
    ax.grid(True, axis="both")
    ax.set_ylabel("decode throughput (tokens/s)")
    style.note(ax, _caption(known, missing), label="MB read per token, weights and KV cache (logarithmic)")
    style.legend_above(ax, columns=3)


def _bandwidth_roofs(ax: Axes, known: Sequence[Cell], span: tuple[float, float]) -> None:
    """Draw tokens/s at full bandwidth, a line for each host and number of threads.

    Between two rungs of the ladder the metric ``bandwidth_utilisation`` takes a straight line on logarithmic axes, and
    beyond its ends the bandwidth at the end: the very lines that are drawn here.
    """
    rows = [row for cell in known for row in cell.rows if row["ladder"]]
    hosts = {row["hostname"] for row in rows}
    roofs = {(row["hostname"], row["is_one_thread"], row["ladder"]) for row in rows}
    for line, (host, is_one_thread, ladder) in zip(itertools.cycle(LINES), sorted(roofs), strict=False):
        rungs = sorted((float(size), rate) for size, rate in json.loads(ladder).items())
        rungs = [(min(span[0], rungs[0][0]), rungs[0][1]), *rungs, (max(span[1], rungs[-1][0]), rungs[-1][1])]
        label = f"read bandwidth, {'one thread' if is_one_thread else 'all threads'}"
        label += f", {host}" if len(hosts) > 1 else ""
        sizes, roof = [size for size, _ in rungs], [rate / size for size, rate in rungs]
        ax.plot(sizes, roof, line, color=style.INK, linewidth=1.3, label=label, gid=style.GROUND)


def _compute_roof(ax: Axes, known: Sequence[Cell]) -> None:
    """Draw tokens/s at the full rate of float32 arithmetic, where all points are of one model on one host."""
    ceiling = _compute_ceiling(known)
    if ceiling is not None:
        ax.axhline(ceiling, color=style.MUTED, linewidth=1.1, linestyle="-.", label="float32 arithmetic, all threads")


def _compute_ceiling(known: Sequence[Cell]) -> float | None:
    rows = [row for cell in known for row in cell.rows if row["flops_per_s"] and row["parameters"]]
    if len({(row["model"], row["hostname"]) for row in rows}) != 1:
        return None
    return max(float(row["flops_per_s"]) / (FLOPS_PER_PARAMETER * int(row["parameters"])) for row in rows)


def _point(ax: Axes, cell: Cell, look: Look, level: int) -> None:
    """Draw one cell with its interval over rounds, its weight format and its share of the roof."""
    x = fmean(cell.column("bytes_per_token"))
    speed = scale_mean(cell.column("decode_tokens_per_s"))
    mean = speed.value or 0.0
    interval(ax, x, (speed.low, speed.high), along="y", colour=look.colour, width=1.6)
    ax.plot([x], [mean], look.marker, color=look.colour, label=cell.series)
    shares = cell.column("bandwidth_utilisation")
    text = f"{cell.group} {percent(fmean(shares))}" if shares else cell.group
    # on the left the roof is higher than at the point: it does not run through the words; equally fast engines with
    # formats of one size lie on one another, so their words stand at different heights
    ax.annotate(
        text,
        (x, mean),
        (-6, _LEVELS[level]),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=style.SMALL,
        gid=LABEL,
    )


def _height(known: Sequence[Cell]) -> tuple[float, float]:
    """Return the ends of the axis of tokens/s, which holds every round and the roof above it."""
    rows = [row for cell in known for row in cell.rows]
    speeds = [row["decode_tokens_per_s"] for row in rows]
    roofs = [row["decode_tokens_per_s"] / row["bandwidth_utilisation"] for row in rows if row["bandwidth_utilisation"]]
    return min(speeds) / 2, 2 * max(*speeds, *roofs, _compute_ceiling(known) or 0.0)


def _caption(known: Sequence[Cell], missing: str) -> str:
    text = f"Point: {means_note(len(cell.rows) for cell in known)}. Per cent: of the bandwidth at this working set."
    sources = {row["is_computed"] for cell in known for row in cell.rows} - {None}
    how = {frozenset({True}): "computed from sizes", frozenset({False}): "counted by the engines"}
    text += f"\nBytes: {how.get(frozenset(sources), 'counted by the engine or computed from sizes')}."
    return text + (f"\nNot drawn ({missing}): {UNKNOWN}." if missing else "")


FIGURE = Figure(
    id="roofline", title="Decode throughput under the memory roof", sql=SQL, draw=draw,
    needs="finished rounds whose logs tell the time of decoding apart from the prefill",
)  # fmt: skip
