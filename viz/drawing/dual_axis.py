"""Accuracy and throughput over one swept option: two axes, the same two colours in every such figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from . import style
from .intervals import interval
from .labels import LABEL
from .scales import scale_values, write_plainly
from .series import means_note

if TYPE_CHECKING:
    from ...collate.statistics.intervals import Interval

ACCURACY, THROUGHPUT = style.PALETTE[0], style.PALETTE[1]
NEAR = 0.12  # of the axes' height: lines this close need their values beside them
NEEDS = "finished rounds of a diffusion model that differ in it and were scored"


def sweep_sql(option: str, without: str | None = None) -> str:
    """Return the query for rounds of diffusion models over an option; what the engine chose stands in for no value.

    Args:
        option: its name.
        without: another option: of an experiment in which some cells do not set it, those alone are taken.
    """
    value = f"coalesce(r.options->>'{option}', r.settings->>'{option}')"
    others = (
        ""
        if without is None
        else f"""
            AND (r.options->>'{without}' IS NULL OR NOT EXISTS (
                FROM runs o WHERE o.experiment = r.experiment AND o.kind = 'diffusion' AND o.status = 'ok'
                    AND o.options->>'{without}' IS NULL))"""
    )
    return f"""
        SELECT r.cell_id, r.model, r.task, TRY_CAST({value} AS BIGINT) AS swept, m.e2e_tokens_per_s
        FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
        WHERE r.experiment = $experiment AND r.status = 'ok' AND r.kind = 'diffusion'
            AND m.e2e_tokens_per_s IS NOT NULL AND TRY_CAST({value} AS BIGINT) IS NOT NULL{others}
        ORDER BY swept, r.cell_id, r.round
    """


def sweep_figure(id: str, title: str, option: str, without: str | None = None) -> Figure:
    """Return the figure of accuracy and throughput over an option of diffusion models; see ``sweep_sql``."""

    def draw(axes: Panels, rows: Sequence[Row]) -> None:
        draw_sweep(style.panels(axes)[0], rows, option)

    return Figure(id=id, title=title, sql=sweep_sql(option, without), draw=draw, needs=NEEDS, topic="diffusion")


def draw_sweep(axes: Axes, rows: Sequence[Row], option: str) -> None:
    """Draw accuracy on the left axis and throughput on the right one over the option's values, on a log2 axis.

    Raises:
        UsageError: the option has one value only, or several cells share a value.
    """
    from ...collate.statistics.intervals import scale_mean  # numpy, which a listing of figures does not wait for
    from ..terminal.accuracy import accuracy_note, accuracy_of

    values = sorted({int(row["swept"]) for row in rows})
    cells = {value: [row for row in rows if row["swept"] == value] for value in values}
    if len(values) < 2:
        raise UsageError(f"the experiment has only one {option}", code="data-missing")
    if any(len({row["cell_id"] for row in found}) > 1 for found in cells.values()):
        raise UsageError(
            f"cells of one {option} differ in something else; a sweep varies one option", code="data-missing"
        )
    speed = {value: scale_mean([float(row["e2e_tokens_per_s"]) for row in found]) for value, found in cells.items()}
    share = {value: accuracy for value, found in cells.items() if (accuracy := accuracy_of(found[0])).value is not None}
    right = axes.twinx()
    if share:
        _line(axes, share, ACCURACY, "o", "accuracy (left)")
    _line(right, speed, THROUGHPUT, "s", "throughput (right)")
    axes.set_ylim(0, 104)
    axes.set_ylabel("accuracy (%)", color=ACCURACY)
    write_plainly(right.yaxis)
    scale_values(right, "y", [point.value or 0.0 for point in speed.values()], room=1.25)
    right.set_ylabel("throughput (tokens/s, prefill included)", color=THROUGHPUT)
    right.spines["right"].set_visible(True)
    right.grid(False)  # one grid: two with other steps would be read as one
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:,}" for value in values])
    for name in axes.get_xticklabels():
        name.set_gid(LABEL)
    axes.minorticks_off()
    _annotate(axes, right, share, speed)
    _legend(axes, right)
    caption = f"Throughput: {means_note(map(len, cells.values()))}. {accuracy_note(rows)}"
    style.note(axes, caption, label=f"{option} (logarithmic)")


def _line(ax: Axes, points: dict[int, Interval], colour: str, marker: str, label: str) -> None:
    ax.plot(list(points), [point.value or 0.0 for point in points.values()], color=colour, marker=marker, label=label)
    for x, point in points.items():
        interval(ax, x, (point.low, point.high), along="y", colour=colour)


def _annotate(left: Axes, right: Axes, share: dict[int, Interval], speed: dict[int, Interval]) -> None:
    """Write both values beside each point where the lines come close."""
    for x in share:
        values = share[x].value or 0.0, speed[x].value or 0.0
        heights = [float(ax.transLimits.transform(ax.transScale.transform((x, value)))[1])
                   for ax, value in zip((left, right), values, strict=True)]  # fmt: skip
        if abs(heights[0] - heights[1]) < NEAR:
            text = f"({values[0]:.0f} %, {values[1]:,.0f})"
            left.annotate(text, (x, values[0]), (8, 5), textcoords="offset points", fontsize=style.SMALLEST, gid=LABEL)


def _legend(left: Axes, right: Axes) -> None:
    handles = [ax.get_legend_handles_labels()[0][0] for ax in (left, right) if ax.get_legend_handles_labels()[0]]
    left.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
