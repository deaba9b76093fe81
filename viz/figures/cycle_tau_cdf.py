"""The share of cycles that commit at most so many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import COUNTS_SQL, NEEDS, TOPIC, modes, shown
from .cycle_tau_histogram import cycles_of, tau_shares


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a rising line per mode."""
    (ax,) = style.panels(axes)
    found, left_out = shown(modes(rows, "tau"))
    for mode in found:
        rising = [0.0, *accumulate(tau_shares(mode))]
        ax.step(range(len(rising)), rising, where="post", color=mode.colour, label=f"{mode.name} (n={cycles_of(mode)})")
    ax.set_ylabel("share of cycles with at most so many")
    ax.set_ylim(0, 1.02)
    style.legend_above(ax)
    style.note(
        ax, f"n: verify cycles of all rounds. Lower is better.{left_out}", label="tokens of a verify cycle (tau)"
    )


FIGURE = Figure(
    id="cycle_tau_cdf", title="Tokens per verify cycle, cumulated", sql=COUNTS_SQL, draw=draw, needs=NEEDS,
    topic=TOPIC,
)  # fmt: skip
