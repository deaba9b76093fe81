"""What drafting and verifying take, against the block size."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, ROUNDS_SQL, TOPIC
from .block_size_tau import curves, line, means_of

PANELS = (("s", 1e3, "per verify cycle (ms)"), ("sample_s", 1.0, "per sample (s)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw verification as a full line and drafting as a dashed one, for each mode."""
    found, left_out = curves(rows, "verify_s")
    for ax, (column, scale, label) in zip(style.panels(axes), PANELS, strict=True):
        for mode in found:
            line(ax, mode, f"verify_{column}", scale, f"{mode.name}: verify")
            line(ax, mode, f"draft_{column}", scale, f"{mode.name}: draft", "--")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    style.legend_above(style.panels(axes)[0])
    style.note(
        style.panels(axes)[-1],
        f"The engine's own clock. Point: {means_of(found)}.{left_out}",
        label="block size (positions, anchor included)",
    )


FIGURE = Figure(
    id="block_size_decode_cost", title="Cost of drafting and verifying by block size", sql=ROUNDS_SQL, draw=draw,
    panels=2, needs=NEEDS, topic=TOPIC,
)  # fmt: skip
