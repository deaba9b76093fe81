"""How often a cycle commits so many tokens."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure, Panels, Row
from ..drawing import style
from ..drawing.cycles import COUNTS_SQL, NEEDS, TOPIC, Mode, modes, shown


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw the share of cycles over tau, a stepped line per mode."""
    (ax,) = style.panels(axes)
    found, left_out = shown(modes(rows, "tau"))
    for mode in found:
        shares = tau_shares(mode)
        edges = [tau - 0.5 for tau in range(1, len(shares) + 2)]
        ax.stairs(shares, edges, color=mode.colour, linewidth=1.6, label=f"{mode.name} (n={cycles_of(mode)})")
    ax.set_ylabel("share of cycles")
    style.legend_above(ax)
    style.note(ax, f"n: verify cycles of all rounds.{left_out}", label="tokens of a verify cycle (tau)")


def cycles_of(mode: Mode) -> int:
    """Return how many cycles a mode has."""
    return sum(row["cycles"] for row in mode.rows)


def tau_shares(mode: Mode) -> list[float]:
    """Return the share of cycles with tau 1, 2, 3, ..."""
    counts = [0] * max(row["tau"] for row in mode.rows)
    for row in mode.rows:
        if row["tau"] > 0:
            counts[row["tau"] - 1] += row["cycles"]
    return [count / cycles_of(mode) for count in counts]


FIGURE = Figure(
    id="cycle_tau_histogram", title="Tokens per verify cycle", sql=COUNTS_SQL, draw=draw, needs=NEEDS, topic=TOPIC
)
