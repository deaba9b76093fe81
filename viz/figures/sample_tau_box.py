"""Tau of the samples, per mode."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.noise import supports_percentile
from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import NEEDS, SAMPLES_SQL, TOPIC, modes, name_rows


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a box per mode, and a point per sample."""
    (ax,) = style.panels(axes)
    found = modes(rows, "tau")
    for mode, place in zip(found, name_rows(ax, found), strict=True):
        values = mode.column("tau")
        if supports_percentile(len(values), 0.25):
            box = {"facecolor": style.tint(mode.colour, 0.4), "edgecolor": mode.colour}
            ax.boxplot([values], positions=[place], orientation="horizontal", widths=0.55, showfliers=False,
                       patch_artist=True, boxprops=box, medianprops={"color": style.INK},
                       manage_ticks=False)  # fmt: skip
        spread = [place + 0.22 * ((at * 0.618) % 1 - 0.5) for at in range(len(values))]
        ax.plot(values, spread, "o", markersize=2.5, color=mode.colour)
        ax.annotate(
            f"n={len(values)}",
            (max(values), place),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
        )
    ax.margins(x=0.08)
    ax.set_xlim(left=0)
    style.note(
        ax,
        "Dots: samples. Box, from n = 13 on: quartiles with the median; whiskers: 1.5 times the box. n: samples of all "
        "rounds; greedy rounds repeat.",
        label="mean tokens per verify cycle of a sample (tau)",
    )


FIGURE = Figure(id="sample_tau_box", title="Tau per sample", sql=SAMPLES_SQL, draw=draw, needs=NEEDS, topic=TOPIC)
