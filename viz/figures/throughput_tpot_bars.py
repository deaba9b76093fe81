"""Decode speed and time per token of every mode."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, ROUNDS_SQL, TOPIC, modes, name_rows
from ..drawing.series import means_note

PANELS = (("decode_tokens_per_s", 1.0, "decode speed (tokens/s)"), ("tpot_s", 1e3, "time per output token (ms)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per mode, speed above, time below."""
    found = modes(rows, "decode_tokens_per_s")
    for ax, (column, scale, label) in zip(style.panels(axes), PANELS, strict=True):
        for mode, place in zip(found, name_rows(ax, found), strict=True):
            rounds = scale_mean([value * scale for value in mode.column(column)])
            mean, low, high = rounds.value or 0.0, rounds.low, rounds.high
            ax.barh(place, mean, height=0.62, color=mode.colour)
            if low is not None and high is not None:
                ax.plot([low, high], [place, place], color=style.INK, linewidth=1.2)
            text = f"{mean:,.0f}" if mean >= 100 else f"{mean:.3g}"
            ax.annotate(text, (max(mean, high or mean), place), (4, 0), textcoords="offset points",
                        va="center", fontsize=style.SMALL)  # fmt: skip
        ax.set_xlabel(label)
        ax.margins(x=0.1)
    style.note(style.panels(axes)[-1], f"Bar: {means_note(len(mode.rows) for mode in found)}.", label=PANELS[-1][2])


FIGURE = Figure(
    id="throughput_tpot_bars", title="Decode speed and time per token", sql=ROUNDS_SQL, draw=draw, panels=2,
    needs=NEEDS, topic=TOPIC,
)  # fmt: skip
