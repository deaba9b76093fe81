"""Tau and decode speed against the block size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Axes, Figure, Panels, Row
from ...core.errors import UsageError
from ..drawing import style
from ..drawing.cycles import NEEDS, ROUNDS_SQL, TOPIC, Mode, modes, shown
from ..drawing.declarations import block_size_option, has_block_size
from ..drawing.intervals import interval
from ..drawing.series import means_note

PANELS = (("tau", "tokens per verify cycle (tau)"), ("decode_tokens_per_s", "decode speed (tokens/s)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line per mode, a point with its interval per block size."""
    found, left_out = curves(rows, "block_size")
    for ax, (column, label) in zip(style.panels(axes), PANELS, strict=True):
        for mode in found:
            line(ax, mode, column, 1.0, mode.name)
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    style.legend_above(style.panels(axes)[0])
    style.note(
        style.panels(axes)[-1],
        f"Point: {means_of(found)}. Block 1 is decoding token by token.{left_out}",
        label="block size (positions, anchor included)",
    )


def curves(rows: Sequence[Row], column: str) -> tuple[Sequence[Mode], str]:
    """Split rows into modes that differ in more than the block size, and say in a sentence what is left out.

    Raises:
        UsageError: there is one block size only.
    """
    fixed = [row for row in rows if has_block_size(row)]
    if len({row["block_size"] for row in fixed}) < 2:
        raise UsageError(
            "the experiment has only one block size: sweep the option that sets it, as in --set NAME=4,8,16",
            code="data-missing",
        )
    on_axis = {block_size_option(row["backend"]) for row in fixed}
    found, left_out = shown(modes(fixed, column, without=on_axis))
    changing = len({row["cell_id"] for row in rows}) - len({row["cell_id"] for row in fixed})
    return found, left_out + (f" Without {changing} whose block size changes between cycles." if changing else "")


def means_of(found: Sequence[Mode]) -> str:
    """Say what the points are, and of how many rounds each."""
    return means_note(Counter(row["cell_id"] for mode in found for row in mode.rows).values())


def line(ax: Axes, mode: Mode, column: str, scale: float, label: str, style: str = "-") -> None:
    """Draw one column of a mode over the block size: means over rounds with their intervals."""
    sizes = sorted({row["block_size"] for row in mode.rows if row.get(column) is not None})
    points = [
        scale_mean(
            [row[column] * scale for row in mode.rows if row["block_size"] == size and row.get(column) is not None]
        )
        for size in sizes
    ]
    ax.plot(
        sizes, [point.value or 0.0 for point in points], style, marker="o", markersize=4, color=mode.colour, label=label
    )
    for size, point in zip(sizes, points, strict=True):
        interval(ax, size, (point.low, point.high), along="y", colour=mode.colour)


FIGURE = Figure(
    id="block_size_tau", title="Tau and decode speed by block size", sql=ROUNDS_SQL, draw=draw, panels=2,
    needs=NEEDS, topic=TOPIC,
)  # fmt: skip
