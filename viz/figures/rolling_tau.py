"""Rolling means of tau and of the cycle's time."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import CYCLES_SQL, NEEDS, TOPIC, modes, shown

WINDOW = 16
PANELS = (("tau", 1.0, "tau (tokens per cycle)"), ("cycle_s", 1e3, "cycle time (ms)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line per mode: the mean of a window that ends at each cycle of its first round."""
    found, left_out = shown(modes(rows, "tau"))
    for ax, (column, scale, label) in zip(style.panels(axes), PANELS, strict=True):
        for mode in found:
            first = [row for row in mode.rows if row["run_id"] == mode.rows[0]["run_id"]]
            values = [row[column] * scale for row in first if row[column] is not None]
            ax.plot(range(1, len(values) + 1), rolling(values), color=mode.colour, linewidth=1.3, label=mode.name)
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    style.legend_above(style.panels(axes)[0])
    style.note(
        style.panels(axes)[-1],
        f"Mean of the last {WINDOW} cycles (fewer at the start), one round of each cell.{left_out}",
        label="verify cycle",
    )


def rolling(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and up to 15 before it."""
    windows = (values[max(0, end - WINDOW) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]


FIGURE = Figure(
    id="rolling_tau", title="Rolling tau and cycle time", sql=CYCLES_SQL, draw=draw, panels=2, needs=NEEDS,
    topic=TOPIC,
)  # fmt: skip
