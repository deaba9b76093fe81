"""How many candidates a cycle verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ....core.contract.figure import Figure, Panels, Row
from ....viz.drawing import style
from ....viz.drawing.cycles import COUNTS_SQL, NEEDS, TOPIC, modes, shown


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw the share of cycles over their number of candidates, bars side by side per mode."""
    from matplotlib.ticker import MaxNLocator

    (ax,) = style.panels(axes)
    found, left_out = shown(modes(rows, "candidates"))
    width = 0.8 / len(found)
    for at, mode in enumerate(found):
        counts: Counter[int] = Counter()
        for row in mode.rows:
            counts[row["candidates"]] += row["cycles"]
        cycles = counts.total()
        offset = (at - (len(found) - 1) / 2) * width
        ax.bar([number + offset for number in counts], [count / cycles for count in counts.values()], width=width,
               color=mode.colour, label=f"{mode.name} (n={cycles})")  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("share of cycles")
    style.legend_above(ax)
    style.note(
        ax, f"n: verify cycles of all rounds.{left_out}", label="candidates of a verify cycle, the greedy one included"
    )


FIGURE = Figure(
    id="candidate_counts", title="Candidates per verify cycle", sql=COUNTS_SQL, draw=draw, needs=NEEDS, topic=TOPIC
)
