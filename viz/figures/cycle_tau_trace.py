"""Tau over the cycles of a run, coloured by block size."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import CYCLES_SQL, NEEDS, TOPIC, Mode, block_colour, modes


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a point per cycle of one round: of the cell that used the most block sizes."""
    (ax,) = style.panels(axes)
    mode = _most_varied(modes(rows, "tau"))
    first = [row for row in mode.rows if row["run_id"] == mode.rows[0]["run_id"]]
    for size in sorted({row["block_size"] or 0 for row in first}):
        points = [(at, row["tau"]) for at, row in enumerate(first) if (row["block_size"] or 0) == size]
        ax.plot(*zip(*points, strict=True), "o", markersize=3.5, color=block_colour(size), label=f"block {size}")
    for at in range(1, len(first)):
        if first[at]["sample"] != first[at - 1]["sample"]:
            ax.axvline(at - 0.5, color=style.GRID, linewidth=0.8, gid=style.GROUND)
    ax.set_ylabel("tokens per verify cycle (tau)")
    ax.set_ylim(bottom=0)
    style.legend_above(ax, columns=6)
    samples = len({row["sample"] for row in first})
    style.note(ax, f"{mode.name}: one round, {samples} samples, a line between two of them.", label="verify cycle")


def _most_varied(found: Sequence[Mode]) -> Mode:
    """Return the mode with the most block sizes; of several the one with the largest mean tau."""
    return max(found, key=lambda mode: (len({row["block_size"] for row in mode.rows}), fmean(mode.column("tau"))))


FIGURE = Figure(
    id="cycle_tau_trace", title="Tau over verify cycles", sql=CYCLES_SQL, draw=draw, needs=NEEDS, topic=TOPIC
)
