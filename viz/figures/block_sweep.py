"""How widening the block that is filled in parallel changes speed and accuracy (L-B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.figure import Figure, Row
from ..drawing import style
from ..drawing.dual_axis import NEEDS, draw_sweep, sweep_sql

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw both lines over block_length."""
    draw_sweep(style.panels(axes)[0], rows, "block_length")


FIGURE = Figure(
    id="block_sweep",
    title="Accuracy and throughput by block length",
    sql=sweep_sql("block_length"),
    draw=draw,
    needs=NEEDS,
    topic="diffusion",
)
