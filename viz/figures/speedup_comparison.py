"""How many times faster each cell is than the baseline, as ``compare`` says."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.verdicts import METHOD
from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from ...core.records.metrics import METRICS
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.numbers import ratio_text
from ..drawing.scales import number_ratios
from ..drawing.series import CELL_COLUMNS, Cell, Look, cells, looks, name_few, rounds_note

SQL = f"SELECT DISTINCT {CELL_COLUMNS} FROM runs r WHERE r.experiment = $experiment AND r.status = 'ok' ORDER BY ALL"
_LINEAR = 4.0  # largest ratio over smallest that a linear axis shows
_BEYOND = 2.0  # times the largest ratio that a logarithmic one shows of intervals
SAME_BITS = 0.1  # q8_0 (8.5) and int8 (8.0) stand beside each other; f16 and q8_0 do not


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a point with its interval per cell, and the baseline as a line at 1."""
    (ax,) = style.panels(axes)
    found = [cell for cell in cells(rows) if "ratio" in cell.rows[0]]
    baselines = [cell for cell in found if cell.rows[0]["is_baseline"]]
    others = [cell for cell in found if cell not in baselines]
    if not baselines or not others:
        raise UsageError(
            "nothing to compare: the experiment has only one cell; measure a second backend or format",
            code="data-missing",
        )
    shown = [cell for cell in others if cell.rows[0]["ratio"] is not None]
    missing = name_few(cell.name for cell in others if cell not in shown)
    if not shown:
        raise UsageError(
            f"nothing in common with {name_few(cell.name for cell in baselines)}: {missing}", code="data-missing"
        )
    look, compared = looks(found), len(shown)
    shown = _best(shown, style.current().most_rows)
    for cell, y in zip(shown, style.name_rows(ax, [cell.name for cell in shown]), strict=True):
        _point(ax, cell, baselines[0] if len(baselines) == 1 else None, y, look[cell.series])
    ax.axvline(1.0, color=style.INK, linewidth=1)
    _scale(ax, [cell.rows[0]["ratio"] for cell in shown])
    metric = METRICS[str(found[0].rows[0]["compared_metric"])]
    few = f"The {len(shown)} best of {compared} cells. " if len(shown) < compared else ""
    style.note(
        ax,
        few + _caption(shown, baselines, missing),
        label=f"{metric.label.lower()} relative to the baseline (right is better)",
    )


def _best(shown: Sequence[Cell], most: int | None) -> list[Cell]:
    """Return the cells with the largest ratios, in their order; None: all."""
    best = {cell.cell_id for cell in sorted(shown, key=lambda cell: -float(cell.rows[0]["ratio"]))[:most]}
    return [cell for cell in shown if cell.cell_id in best]


def _point(ax: Axes, cell: Cell, baseline: Cell | None, y: float, look: Look) -> None:
    """Draw one cell, hollow where its format is not as wide as the baseline's."""
    row = cell.rows[0]
    bits, base_bits = cell.bits, baseline.bits if baseline else None
    is_alike = bits is None or base_bits is None or abs(bits / base_bits - 1) <= SAME_BITS
    interval(ax, y, (row["ratio_low"], row["ratio_high"]), along="x", colour=look.colour, width=2)
    ax.plot([row["ratio"]], [y], look.marker, color=look.colour, markerfacecolor=None if is_alike else style.PAPER)
    ax.annotate(f"{ratio_text(row['ratio'])}×", (row["ratio"], y), (0, 6), textcoords="offset points", ha="center",
                fontsize=style.SMALL)  # fmt: skip


def _caption(shown: Sequence[Cell], baselines: Sequence[Cell], missing: str) -> str:
    counts = [cell.rows[0]["ratio_n"] for cell in shown]
    has_interval = any(cell.rows[0]["ratio_low"] is not None for cell in shown)
    together = f", simultaneous ({METHOD})" if len(shown) > 1 else ""
    few = "; two rounds give wide ones" if has_interval and 2 in counts else ""
    unit = "rounds, for these prompts" if shown[0].rows[0]["ratio_over"] == "rounds" else "rounds and prompts"
    what = f"Whisker: 95 % interval over {unit}{together}{few};" if has_interval else "No interval, so not tested:"
    whisker = f"{what} {rounds_note(counts)}."
    text = f"Line at 1: {name_few(cell.name for cell in baselines)}. {whisker}"
    if len(baselines) == 1:
        text += " Hollow: other bits per weight than the baseline."
    return text + (f"\nNot drawn ({missing}): nothing in common with the baseline." if missing else "")


def _scale(ax: Axes, ratios: Sequence[float]) -> None:
    """Use a logarithmic axis where ratios span more than a factor of four: half and double then look alike.

    It stays with the ratios: the interval of two noisy rounds may reach anywhere.
    """
    low, high = min(*ratios, 1.0), max(*ratios, 1.0)
    ends = ax.dataLim.intervalx
    if low > 0 and high / low > _LINEAR:
        ax.set_xscale("log", base=2)
        ax.set_xlim(max(ends[0], low / _BEYOND) / 1.15, min(ends[1], high * _BEYOND) * 1.15)
    else:
        span = max(high - low, 0.1 * high)
        ax.set_xlim(max(ends[0], low - span) - 0.1 * span, min(ends[1], high + span) + 0.1 * span)
    number_ratios(ax.xaxis)


FIGURE = Figure(id="speedup_comparison", title="Speed-up over the baseline", sql=SQL, draw=draw)
