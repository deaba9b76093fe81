"""Wall time of samples against their tau."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, SAMPLES_SQL, TOPIC, modes, shown


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a point per sample."""
    (ax,) = style.panels(axes)
    found, left_out = shown(modes(rows, "wall_s"))
    for mode in found:
        ax.plot(mode.column("tau"), mode.column("wall_s"), "o", markersize=4, color=mode.colour,
                label=f"{mode.name} (n={len(mode.rows)})")  # fmt: skip
    ax.set_ylabel("wall time of a sample (s)")
    ax.set_ylim(bottom=0)
    style.legend_above(ax)
    style.note(ax, f"n: samples of all rounds; longer outputs take longer.{left_out}", label="mean tau of a sample")


FIGURE = Figure(id="wall_time_tau", title="Wall time against tau", sql=SAMPLES_SQL, draw=draw, needs=NEEDS, topic=TOPIC)
