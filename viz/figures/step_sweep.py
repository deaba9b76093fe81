"""What more denoising steps cost in speed and buy in accuracy (L-S)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.figure import Figure, Row
from ..drawing import style
from ..drawing.dual_axis import NEEDS, draw_sweep, sweep_sql

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(axes: Axes | Sequence[Axes], rows: Sequence[Row]) -> None:
    """Draw both lines over steps."""
    draw_sweep(style.panels(axes)[0], rows, "steps")


FIGURE = Figure(
    id="step_sweep",
    title="Accuracy and throughput by denoising steps",
    sql=sweep_sql("steps"),
    draw=draw,
    needs=NEEDS,
    topic="diffusion",
)
