"""Decode speed and time per token of every mode."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, ROUNDS_SQL, TOPIC, modes, name_rows
from ..drawing.intervals import interval
from ..drawing.numbers import digits
from ..drawing.scales import scale_values, spans_a_decade
from ..drawing.series import means_note

PANELS = (("decode_tokens_per_s", 1.0, "decode speed (tokens/s)"), ("tpot_s", 1e3, "time per output token (ms)"))


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per mode, speed above, time below."""
    found = modes(rows, "decode_tokens_per_s")
    for ax, (column, scale, label) in zip(style.panels(axes), PANELS, strict=True):
        everything = [value * scale for mode in found for value in mode.column(column)]
        is_logarithmic = spans_a_decade(everything)
        for mode, place in zip(found, name_rows(ax, found), strict=True):
            rounds = scale_mean([value * scale for value in mode.column(column)])
            mean = rounds.value or 0.0
            if is_logarithmic:
                ax.plot([mean], [place], "o", color=mode.colour)
            else:
                ax.barh(place, mean, height=0.62, color=mode.colour, linewidth=0)
            interval(
                ax, place, (rounds.low, rounds.high), along="x", colour=mode.colour if is_logarithmic else style.INK
            )
            end = min(max(mean, rounds.high or mean), 1.1 * max(everything))
            ax.annotate(digits(mean), (end, place), (4, 0), textcoords="offset points", va="center",
                        fontsize=style.SMALL)  # fmt: skip
        ax.set_xlabel(label)
        scale_values(ax, "x", everything, room=1.25)
    style.note(style.panels(axes)[-1], f"Bar: {means_note(len(mode.rows) for mode in found)}.", label=PANELS[-1][2])


FIGURE = Figure(
    id="throughput_tpot_bars", title="Decode speed and time per token", sql=ROUNDS_SQL, draw=draw, panels=2,
    needs=NEEDS, topic=TOPIC,
)  # fmt: skip
