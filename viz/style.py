"""One look for every figure: colours, fonts, sizes, grid, and bytes that do not change from one drawing to the next."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's colours, told apart with any colour vision; black is the ink and yellow is too pale on white."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
"""One shape per colour, so that the series are told apart in black and white too."""

INK = "#1b1f24"
MUTED = "#5a6470"
GRID = "#d5dae0"
PAPER = "#ffffff"

WIDTH_IN = 8.0
PANEL_IN = 3.6
DPI = 150
NAME_WIDTH = 40  # characters of a name beside the axes


def slots(names: Iterable[str]) -> dict[str, int]:
    """Give every name a slot of the palette that depends on the set of names only.

    A name takes the slot of its own hash, so that it keeps its colour when others come and go; where two meet, the
    later one by name moves on to the next free slot. Beyond the palette's length slots are shared.
    """
    size = len(PALETTE)
    taken: dict[str, int] = {}
    for name in sorted(set(names)):
        slot = hashlib.sha256(name.encode()).digest()[0] % size
        while slot in taken.values() and len(taken) < size:
            slot = (slot + 1) % size
        taken[name] = slot
    return taken


def shade(colour: str, step: int) -> str:
    """Lighten a ``#rrggbb`` colour by ``step`` fifths towards white; tells variants of one backend apart."""
    share = min(step, 3) / 5
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in channels)


def settings(salt: str) -> dict[str, Any]:
    """Return matplotlib's parameters; ``salt`` keeps the ids of two SVG figures on one page apart."""
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "figure.facecolor": PAPER,
        "font.family": "DejaVu Sans",  # shipped with matplotlib: the same glyphs everywhere
        "font.size": 9,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "hatch.color": PAPER,
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and follows the page's colours
        "svg.hashsalt": salt,
        "text.color": INK,
        "text.parse_math": False,  # a "$" in a name is a dollar sign
        "xtick.color": INK,
        "ytick.color": INK,
    }


def applied(salt: str) -> AbstractContextManager[None]:
    """Return a context in which matplotlib uses ``settings``; both drawing and saving belong into it."""
    from matplotlib import rc_context

    parameters: Any = settings(salt)  # matplotlib types the keys from 3.11 on, and this runs with older ones too
    return rc_context(parameters)


def canvas(title: str, panels: int = 1) -> tuple[Canvas, list[Axes]]:
    """Return an empty figure with ``panels`` axes one below the other. Call it within ``applied``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(WIDTH_IN, PANEL_IN * panels + 0.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(panels, 1, i + 1) for i in range(panels)]
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure, axes


def to_bytes(figure: Canvas, fmt: str) -> bytes:
    """Return the figure as ``png``, ``svg`` or ``pdf``, without a date, so that equal data give equal bytes."""
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "ModDate": None},
        "png": {},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=fmt, metadata=metadata[fmt])
    return buffer.getvalue()


def panels(axes: Axes | Sequence[Axes]) -> list[Axes]:
    """Return the axes that ``draw`` was given as a list, be it one or several."""
    return list(axes) if isinstance(axes, Sequence) else [axes]


def legend_above(axes: Axes, columns: int | None = None) -> None:
    """Put the legend over the axes, where it hides no data; leave it out where there is nothing to tell apart.

    Args:
        axes: what it belongs to; its figure grows with a legend of many lines.
        columns: by default as many as the labels leave room for.
    """
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if not unique:
        return
    longest = max(map(len, unique))
    chosen = columns or (4 if longest < 22 else 3 if longest < 32 else 2 if longest < 60 else 1)
    axes.legend(unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0, 1), ncols=chosen,
                borderaxespad=0.2, fontsize=9 if longest < 32 else 7)  # fmt: skip
    _grow(axes, 0.17 * max(0, -(-len(unique) // chosen) - 3))


def _grow(axes: Axes, inches: float) -> None:
    """Make the figure higher, so that the axes keep their height."""
    figure = axes.get_figure(root=True)
    if figure is not None and inches > 0:
        figure.set_figheight(figure.get_figheight() + inches)


def name_rows(axes: Axes, names: Sequence[str]) -> list[int]:
    """Put names on the y axis, the first at the top, and return their places; the figure grows with long names."""
    from textwrap import fill

    places = list(range(len(names), 0, -1))
    wrapped = [fill(name, NAME_WIDTH) for name in names]
    lines = max(name.count("\n") + 1 for name in wrapped)
    is_small = lines > 1 or len(names) > 10
    axes.set_yticks(places, wrapped, fontsize=6 if is_small else 8)
    axes.set_ylim(0.3, len(names) + 0.7)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    _grow(axes, len(names) * lines * 0.125 + 1.2 - PANEL_IN)
    return places


def note(axes: Axes, text: str, label: str = "") -> None:
    """Say under the axes what the marks stand for, after the axis' own label."""
    axes.set_xlabel(f"{label}\n{text}" if label else text, loc="left", fontsize=8, color=MUTED, linespacing=1.5)
