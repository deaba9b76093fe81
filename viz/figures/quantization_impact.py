"""What fewer bits per weight buy in speed and cost in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.figure import Figure, Row
from .. import style
from ..accuracy import ACCURACY_CTE, share_of
from ..intervals import mean_interval
from ..series import CELL_COLUMNS, Cell, Look, cells, looks, rounds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQL = f"""
WITH {ACCURACY_CTE}
SELECT {CELL_COLUMNS}, r.task, r.round, m.decode_tokens_per_s, a.right_answers, a.problems
FROM runs r
JOIN run_metrics m ON m.run_id = r.run_id
LEFT JOIN accuracy a ON a.cell_id = r.cell_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND r.bits_per_weight IS NOT NULL
      AND m.decode_tokens_per_s IS NOT NULL
ORDER BY r.cell_id, r.round
"""
NEAR = 1.2  # formats within 20 % share a tick: int8 (9.4 with its scales) and q8_0 (8.5) would print over each other
DODGE = 1.012  # series are moved apart by a little more than one per cent, so that whiskers do not cover each other


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw throughput above and accuracy below, over bits per weight, one line per series."""
    speed, accuracy = style.panels(axes)
    found = sorted(cells(rows), key=lambda cell: cell.bits or 0.0)
    look = looks(found)
    names = sorted(look)
    for i, series in enumerate(names):
        own = [cell for cell in found if cell.series == series]
        x = [(cell.bits or 1.0) * DODGE ** (2 * i - len(names) + 1) for cell in own]
        _line(speed, x, [mean_interval(cell.column("decode_tokens_per_s")) for cell in own], series, look[series])
        scored = [(place, cell) for place, cell in zip(x, own, strict=True) if cell.rows[0].get("problems")]
        _line(
            accuracy,
            [place for place, _ in scored],
            [share_of(cell.rows[0]) for _, cell in scored],
            series,
            look[series],
        )
    speed.set_ylim(bottom=0)
    speed.set_ylabel("decode throughput (tokens/s)")
    accuracy.set_ylabel("accuracy (%)")
    accuracy.set_ylim(-4, 104)
    for ax in (speed, accuracy):
        _ticks(ax, found)
    style.legend_above(speed)
    style.note(accuracy, _caption(found), label="weight format and its measured bits per weight (logarithmic)")
    _say_if_unscored(accuracy, found)


def _line(ax: Axes, x: list[float], points: list[tuple[float, float | None, float | None]], series: str,
          look: Look) -> None:  # fmt: skip
    if not x:
        return
    values = [value for value, _, _ in points]
    below = [value - (value if low is None else low) for value, low, _ in points]
    above = [(value if high is None else high) - value for value, _, high in points]
    ax.errorbar(x, values, [below, above], fmt=look.marker + "-", color=look.colour, capsize=3, markersize=6,
                linewidth=1.4, label=series)  # fmt: skip


def _ticks(ax: Axes, found: Sequence[Cell]) -> None:
    """Name the formats on a logarithmic axis, most bits on the left; formats of nearly equal size share a tick."""
    from matplotlib.ticker import NullFormatter, NullLocator

    merged: list[list[Cell]] = []
    for cell in found:
        if merged and (cell.bits or 0.0) <= (merged[-1][0].bits or 0.0) * NEAR:
            merged[-1].append(cell)
        else:
            merged.append([cell])
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks([_middle(part) for part in merged], [_tick_label(part) for part in merged])
    low, high = min(c.bits or 1.0 for c in found), max(c.bits or 1.0 for c in found)
    ax.set_xlim(high * 1.2, low / 1.2)


def _middle(part: Sequence[Cell]) -> float:
    return sum(cell.bits or 0.0 for cell in part) / len(part)


def _tick_label(part: Sequence[Cell]) -> str:
    bits = sorted({round(cell.bits or 0.0, 1) for cell in part})
    span = f"{bits[0]:g}" if len(bits) == 1 else f"{bits[0]:g}–{bits[-1]:g}"
    return "\n".join([*sorted({cell.group for cell in part}), f"{span} bits"])


def _caption(found: Sequence[Cell]) -> str:
    problems = sorted({int(cell.rows[0]["problems"]) for cell in found if cell.rows[0].get("problems")})
    tasks = sorted({str(row["task"]) for cell in found for row in cell.rows if row.get("task")})
    speed = f"Speed: mean and 95 % t interval, {rounds_note(len(cell.rows) for cell in found)}."
    if not problems:
        return speed
    span = " to ".join(str(n) for n in sorted({problems[0], problems[-1]}))
    return f"{speed}\nAccuracy: {', '.join(tasks)}, n = {span} problems, each counted once; 95 % Wilson interval."


def _say_if_unscored(ax: Axes, found: Sequence[Cell]) -> None:
    if not any(cell.rows[0].get("problems") for cell in found):
        ax.text(0.5, 0.5, "no accuracy: the experiment ran no task with right answers", transform=ax.transAxes,
                ha="center", color=style.MUTED)  # fmt: skip


FIGURE = Figure(
    id="quantization_impact",
    title="Speed and accuracy against bits per weight",
    sql=SQL,
    draw=draw,
    panels=2,
    needs="finished rounds that recorded bits_per_weight, best of several quantisations",
)
