"""How many times faster each cell is than the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from ...core.figure import Figure, Row
from .. import style
from ..intervals import ratio_interval
from ..series import CELL_COLUMNS, Cell, Look, cells, looks, rounds_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQL = f"""
SELECT {CELL_COLUMNS}, r.round, r.started_at, m.decode_tokens_per_s
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND m.decode_tokens_per_s IS NOT NULL
ORDER BY r.cell_id, r.round
"""
SAME_BITS = 0.1  # q8_0 (8.5) and int8 (8.0) stand beside each other; f16 and q8_0 do not


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw a point with its interval per cell, and the baseline as a line at 1."""
    (ax,) = style.panels(axes)
    found = cells(rows)
    baseline = baseline_of(found)
    others = [cell for cell in found if cell is not baseline]
    if not others:
        raise UsageError("nothing to compare: the experiment has one cell only; measure a second backend or format")
    look = looks(found)
    places = range(len(others), 0, -1)
    counts = [_point(ax, cell, baseline, y, look[cell.series]) for cell, y in zip(others, places, strict=True)]
    ax.axvline(1.0, color=style.INK, linewidth=1)
    ax.set_yticks(list(places), [f"{cell.series}\n{cell.group}" for cell in others], fontsize=8)
    ax.set_ylim(0.3, len(others) + 0.7)
    _scale(ax)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    style.note(
        ax,
        f"Line at 1: {baseline.series} {baseline.group}. Whisker: 95 % t interval over rounds, paired by round. "
        f"{rounds_note(counts)}.\nHollow: other bits per weight than the baseline.",
        label="decode throughput relative to the baseline (right of 1 is faster)",
    )


def baseline_of(found: Sequence[Cell]) -> Cell:
    """Return the cell whose rows are marked ``is_baseline``; without a mark the one that was started first."""
    marked = [cell for cell in found if cell.rows[0].get("is_baseline")]
    return marked[0] if marked else min(found, key=lambda c: min(str(row.get("started_at") or "") for row in c.rows))


def _point(ax: Axes, cell: Cell, baseline: Cell, y: float, look: Look) -> int:
    """Draw one cell and return over how many rounds."""
    base = {row["round"]: row["decode_tokens_per_s"] for row in baseline.rows}
    pairs = [(row["decode_tokens_per_s"], base[row["round"]]) for row in cell.rows if row["round"] in base]
    if not pairs:
        ax.annotate("no round in common with the baseline", (1.0, y), (4, 0), textcoords="offset points", va="center")
        return 0
    ratio, low, high = ratio_interval(pairs)
    bits_alike = cell.bits is None or baseline.bits is None or abs(cell.bits / baseline.bits - 1) <= SAME_BITS
    if low is not None and high is not None:
        ax.plot([low, high], [y, y], color=look.colour, linewidth=2, solid_capstyle="butt")
    ax.plot(
        [ratio], [y], look.marker, color=look.colour, markersize=8, markerfacecolor=None if bits_alike else style.PAPER
    )
    ax.annotate(f"{ratio:.2f}×", (ratio, y), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    return len(pairs)


def _scale(ax: Axes) -> None:
    """Use a logarithmic axis where ratios span more than a factor of four: half and double then look alike."""
    low, high = ax.get_xlim()
    if low > 0 and high / low > 4:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_locator(LogLocator(base=2))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())


FIGURE = Figure(
    id="speedup_comparison",
    title="Speed-up over the baseline",
    sql=SQL,
    draw=draw,
    needs="finished rounds of two or more cells",
)
