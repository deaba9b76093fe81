"""One look for every figure: colours, fonts, sizes, grid, and bytes that do not change from one drawing to the next."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ...core.contract.look import LEAST_CONTRAST, MARKERS, contrast
from .declarations import declaration
from .scales import write_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C48700", "#4999C6", "#7F7F7F")
"""Okabe and Ito's colours, distinct with any colour vision; orange and sky blue darker, to be seen on white."""

BY_HASH = ("#993D77", "#4F6638", "#909954", "#6130F2", "#C666FF")
"""Colours of backends that declare none, or whose plugin is not installed, by their name's hash.

They have a contrast of at least 3 on white and on black, and none is near one that a built-in backend declares.
"""

INK = "#1b1f24"
MUTED = "#5a6470"
GRID = "#d5dae0"
PAPER = "#ffffff"
BLACK = "#000000"
DARK = "#14171b"
"""The ground of the HTML page in a dark theme."""

GROUND, ROUNDS = "ground", "rounds"
"""``gid`` of what lies behind the marks or fills a field, and of the rounds behind a mean: no values by themselves."""

SMALLEST, SMALL, MEDIUM = "x-small", "small", "medium"
"""Sizes of text, relative to the style's font: 6, 7.5 and 9 points of the usual one."""


@dataclass(frozen=True, slots=True)
class Style:
    """How large a figure and its text are, and what stands in it.

    Attributes:
        width_in: width in inches.
        panel_in: height of one panel in inches.
        font_pt: size of the text in points.
        dpi: pixels per inch of a PNG.
        has_title: whether the title stands above the axes.
        has_caption: whether the caption stands below them; what it says is kept for others to show in any case.
        is_wide: whether several panels stand side by side, each of ``width_in`` over their number.
        has_outlines: whether text in an SVG is drawn as shapes, for a reader without the font.
        most_rows: how many cells a figure with a row for each may have; None: all.
    """

    width_in: float = 8.0
    panel_in: float = 3.6
    font_pt: float = 9.0
    dpi: int = 150
    has_title: bool = True
    has_caption: bool = True
    is_wide: bool = False
    has_outlines: bool = False
    most_rows: int | None = None

    @property
    def zoom(self) -> float:
        """Size of the text relative to the usual style's."""
        return self.font_pt / 9.0

    def columns(self, characters: int) -> int:
        """Return how many characters fit where the usual style has room for so many."""
        return round(characters * self.width_in / 8.0 / self.zoom)


STYLES = {
    "page": Style(),
    "talk": Style(width_in=10.0, panel_in=4.4, font_pt=13.0),
    "paper": Style(width_in=6.5, panel_in=2.8, font_pt=8.0, dpi=300, has_title=False),
}
"""By name: for a screen, for a projector, and for a paper, whose captions are the authors'."""

_NAME_WIDTH = 40  # characters of a name beside the axes
_MOST_COLUMNS = 4  # of a legend
_BESIDE_AXES_PT = 58.0  # what labels and margins take of a figure's width
_LEGEND_LINES = 6  # more of them are smaller
_CAPTION_WIDTH = 140  # characters of a line below them
_current: ContextVar[Style] = ContextVar("style", default=STYLES["page"])
_NOT_IN_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # matplotlib writes names into an SVG as they are


def current() -> Style:
    """Return the style within ``applied``."""
    return _current.get()


def look_of(backend: str) -> tuple[str, str]:
    """Return a backend's colour and marker: as it declares them, else by its name's hash.

    Two backends may meet in one colour; see ``series.looks`` for what distinguishes them.
    """
    digest = hashlib.sha256(backend.encode()).digest()
    known = declaration(backend)
    colour = (known and known.colour) or BY_HASH[digest[0] % len(BY_HASH)]
    return colour, (known and known.marker) or MARKERS[digest[1] % len(MARKERS)]


def shade(colour: str, share: float, ground: str = PAPER) -> str:
    """Move a ``#rrggbb`` colour away from its ground by a share of the way; tells variants of one backend apart.

    Away, since a backend's own colour has about the least contrast that can be seen: a paler one would have less.
    """
    end = 0 if contrast(ground, BLACK) > contrast(ground, PAPER) else 255
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (end - c) * share):02X}" for c in channels)


def visible(colour: str, ground: str = PAPER) -> str:
    """Return a colour, moved away from its ground as far as it takes to be seen on it."""
    shades = (shade(colour, step / 20, ground) for step in range(21))
    return next(one for one in shades if contrast(one, ground) >= LEAST_CONTRAST)


def tint(colour: str, share: float) -> str:
    """Mix a ``#rrggbb`` colour with paper, to fill what has an edge of the colour itself."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * share):02X}" for c in channels)


def settings(salt: str, style: Style) -> dict[str, Any]:
    """Return matplotlib's parameters; ``salt`` keeps the ids of two SVG figures on one page apart."""
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelcolor": INK,
        "axes.labelsize": MEDIUM,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": MEDIUM,
        "axes.titlelocation": "left",
        "figure.facecolor": PAPER,
        "font.family": "DejaVu Sans",  # shipped with matplotlib: the same glyphs everywhere
        "font.size": style.font_pt,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "hatch.color": PAPER,
        "legend.frameon": False,
        "lines.linewidth": 1.5 * style.zoom,
        "lines.markersize": 6 * style.zoom,
        # text stays text where it can: it can be searched, read aloud and follows the page's colours
        "svg.fonttype": "path" if style.has_outlines else "none",
        "svg.hashsalt": salt,
        "text.color": INK,
        "text.parse_math": False,  # a "$" in a name is a dollar sign
        "xtick.color": INK,
        "ytick.color": INK,
    }


@contextmanager
def applied(salt: str, style: Style = STYLES["page"]) -> Iterator[None]:
    """Let matplotlib and this module use ``style``; both drawing and saving belong into it."""
    from matplotlib import rc_context

    parameters: Any = settings(salt, style)  # matplotlib types the keys from 3.11 on, and this runs with older ones too
    token = _current.set(style)
    try:
        with rc_context(parameters), warnings.catch_warnings():
            # a name in a script that the font lacks is drawn as boxes; that is no news for a terminal
            warnings.filterwarnings("ignore", r"Glyph .* missing from font")
            yield
    finally:
        _current.reset(token)


def canvas(title: str, panels: int = 1) -> tuple[Canvas, list[Axes]]:
    """Return an empty figure with ``panels`` axes one below the other. Call it within ``applied``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    style = current()
    grid = (1, panels) if style.is_wide else (panels, 1)
    size = (style.width_in, style.panel_in * grid[0] + 0.6 * style.zoom)
    figure = Canvas(figsize=size, dpi=style.dpi, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(*grid, i + 1) for i in range(panels)]
    for one in axes:
        write_plainly(one.xaxis)
        write_plainly(one.yaxis)
    if style.has_title:
        wrapped = fill(title, style.columns(88))
        figure.suptitle(wrapped, x=0.01, ha="left", fontsize=style.font_pt * 4 / 3, fontweight="bold")
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
    content = buffer.getvalue()
    return content if fmt != "svg" else _NOT_IN_XML.sub("\ufffd".encode(), content)


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
    chosen = _columns(list(unique), columns or _MOST_COLUMNS, MEDIUM)
    is_small = -(-len(unique) // chosen) > _LEGEND_LINES or not _fits([*unique], chosen, MEDIUM)
    size = SMALL if is_small else MEDIUM
    chosen = _columns(list(unique), columns or _MOST_COLUMNS, size)
    lines = -(-len(unique) // chosen)
    grow(axes, (0.14 if is_small else 0.17) * current().zoom * max(0, lines - 3))
    figure = axes.get_figure(root=True)
    if figure is not None and _panels_beside(figure) > 1:  # over one of them it would take width from the others
        figure.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=chosen, fontsize=size)
        return
    axes.legend(unique.values(), unique.keys(), loc="lower left", bbox_to_anchor=(0, 1), ncols=chosen,
                borderaxespad=0.2, fontsize=size)  # fmt: skip


def _columns(labels: Sequence[str], most: int, size: str) -> int:
    """Return how many columns a legend may have to be no wider than the figure."""
    return next((n for n in range(min(len(labels), most), 1, -1) if _fits(labels, n, size)), 1)


def _fits(labels: Sequence[str], columns: int, size: str) -> bool:
    """Whether a legend that is filled column by column is no wider than the axes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", size=size)
    em = font.get_size_in_points()
    widths = [float(TextPath((0, 0), label, prop=font).get_extents().width) for label in labels]
    starts, start = [0], 0
    for column in range(columns):  # the first columns take what is left over
        start += len(labels) // columns + (column < len(labels) % columns)
        starts.append(start)
    widest = [max(widths[a:b], default=0.0) for a, b in zip(starts, starts[1:], strict=False)]
    return sum(widest) + columns * (2.8 + 2.0) * em <= 72 * current().width_in - _BESIDE_AXES_PT


def room(axes: Axes, characters: int) -> int:
    """Return how many characters fit below an axes where a whole figure of the usual style has room for so many."""
    figure = axes.get_figure(root=True)
    return current().columns(characters) // (1 if figure is None else _panels_beside(figure))


def _panels_beside(figure: Canvas) -> int:
    return len(figure.axes) if current().is_wide else 1


def grow(axes: Axes, inches: float) -> None:
    """Make the figure higher, so that the axes keep their height."""
    figure = axes.get_figure(root=True)
    if figure is not None and inches > 0:
        figure.set_figheight(figure.get_figheight() + inches)


def name_rows(axes: Axes, names: Sequence[str]) -> list[int]:
    """Put names on the y axis, the first at the top, and return their places; the figure grows with long names."""
    style = current()
    places = list(range(len(names), 0, -1))
    wrapped = [fill(name, style.columns(_NAME_WIDTH)) for name in names]
    lines = max(name.count("\n") + 1 for name in wrapped)
    is_small = lines > 1 or len(names) > 10
    axes.set_yticks(places, wrapped, fontsize=SMALLEST if is_small else SMALL)
    axes.set_ylim(0.3, len(names) + 0.7)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    grow(axes, (len(names) * lines * 0.125 + 1.2) * style.zoom - style.panel_in)
    return places


def note(axes: Axes, text: str, label: str = "") -> None:
    """Say at the foot of the figure what the marks stand for; ``label`` names the axis."""
    style = current()
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    figure.set_label(text)
    if label:
        axes.set_xlabel(fill(label, room(axes, 90)))
    if style.has_caption:
        wrapped = "\n".join(fill(line, style.columns(_CAPTION_WIDTH)) for line in text.splitlines())
        figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=SMALL, color=MUTED, linespacing=1.4)


def caption(figure: Canvas) -> str:
    """Return what ``note`` said under a figure; empty where it said nothing."""
    return str(figure.get_label())
