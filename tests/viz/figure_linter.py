"""What makes a drawn figure hard to read, or wrong to look at: one check for each, over any matplotlib figure.

``faults_of`` runs all of them. A check gets the figure as it is laid out and yields a sentence for each fault. Where it
must know what a line means, it goes by the ``gid`` that the drawing code gives: intervals, rounds, grounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text

from decodebench.core.contract.look import LEAST_CONTRAST, contrast
from decodebench.viz.drawing import style
from decodebench.viz.drawing.intervals import ARROW, INTERVAL

SLACK_PX = 1.0  # by which boxes of text may touch
SMALLEST_PT = 5.0
MOST_DIGITS = 4  # significant ones of a number beside an axis
DECADE = 10.0


@dataclass(frozen=True)
class Drawn:
    """A figure that is laid out.

    Attributes:
        figure: it.
        colours: by backend the colour that it has everywhere.
        texts: the texts that are seen, with the corners of their boxes in pixels.
        ground: the picture without its texts, as rows of RGB pixels from the top.
    """

    figure: Figure
    colours: Mapping[str, str] = field(default_factory=dict)
    texts: list[tuple[Text, np.ndarray]] = field(default_factory=list)
    ground: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))


Check = Callable[[Drawn], Iterator[str]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Add a check to those that ``faults_of`` runs."""
    CHECKS.append(function)
    return function


def faults_of(figure: Figure, colours: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of a drawn figure, each as ``check: what``.

    Args:
        figure: with its texts and marks; its layout is fixed afterwards.
        colours: by backend the colour that it has everywhere.
    """
    drawn = laid_out(figure, colours or {})
    return [f"{one.__name__}: {fault}" for one in CHECKS for fault in one(drawn)]


def laid_out(figure: Figure, colours: Mapping[str, str]) -> Drawn:
    """Lay a figure out, and draw it without its texts."""
    canvas: Any = figure.canvas
    canvas.draw()
    figure.set_layout_engine("none")  # texts are hidden next, which must not move anything
    texts = [(text, corners_of(text, canvas.get_renderer())) for text in seen_texts(figure)]
    for text, _ in texts:
        text.set_alpha(0.0)
    canvas.draw()
    ground = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    for text, _ in texts:
        text.set_alpha(None)
    return Drawn(figure, colours, texts, ground)


def seen_texts(figure: Figure) -> list[Text]:
    """Return the texts of a figure that are drawn: of ticks only those within their axis' view."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    of_ticks = {id(label) for axis in axes for tick in _ticks(axis) for label in (tick.label1, tick.label2)}
    others = [text for text in figure.findobj(Text) if id(text) not in of_ticks]
    ticks = [label for axis in axes for _, label in labels_of(axis)]
    return [text for text in [*others, *ticks] if text.get_visible() and text.get_text().strip()]


def labels_of(axis: Axis) -> list[tuple[float, Text]]:
    """Return place and label of every tick within the view of an axis, those with words alone."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * (high - low)
    found = [(tick.get_loc(), label) for tick in _ticks(axis) for label in (tick.label1, tick.label2)]
    return [(at, label) for at, label in found if low - room <= at <= high + room and label.get_visible()
            and label.get_text().strip()]  # fmt: skip


def _ticks(axis: Axis) -> list[Any]:
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def corners_of(text: Text, renderer: Any) -> np.ndarray:
    """Return the corners of a text's box, turned as the text is, in pixels from the lower left."""
    box = text.get_window_extent(renderer)
    middle, angle = np.array([box.x0 + box.width / 2, box.y0 + box.height / 2]), math.radians(text.get_rotation())
    across, up = abs(math.cos(angle)), abs(math.sin(angle))
    width, height = box.width, box.height
    if min(across, up) > 0.01 and abs(across**2 - up**2) > 0.01:  # the box around a turned text is larger than it
        width = (box.width * across - box.height * up) / (across**2 - up**2)
        height = (box.height * across - box.width * up) / (across**2 - up**2)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    else:
        turn = np.eye(2)
    half = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    return middle + half @ turn.T


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes share more than a line, by the axes along which they might be separated."""
    for box in (a, b):
        for i in range(2):
            side = box[i + 1] - box[i]
            axis = side / (np.linalg.norm(side) or 1.0)
            first, second = a @ axis, b @ axis
            if min(first.max(), second.max()) - max(first.min(), second.min()) <= SLACK_PX:
                return False
    return True


@check
def texts_do_not_overlap(drawn: Drawn) -> Iterator[str]:
    """No two texts cover each other."""
    for (one, a), (other, b) in combinations(drawn.texts, 2):
        if _overlap(a, b):
            yield f"{one.get_text()!r} and {other.get_text()!r}"


@check
def texts_are_whole(drawn: Drawn) -> Iterator[str]:
    """No text leaves the picture, or what it is clipped to."""
    for text, corners in drawn.texts:
        clip = text.get_clip_box() if text.get_clip_on() else None
        for box in filter(None, (drawn.figure.bbox, clip)):
            low, high = corners.min(axis=0), corners.max(axis=0)
            if (low < np.array([box.x0, box.y0]) - SLACK_PX).any() or (
                high > np.array([box.x1, box.y1]) + SLACK_PX
            ).any():
                yield f"{text.get_text()!r} is cut"
                break


@check
def texts_are_large_enough(drawn: Drawn) -> Iterator[str]:
    """No text is too small to be read."""
    for text, _ in drawn.texts:
        if text.get_fontsize() < SMALLEST_PT:
            yield f"{text.get_text()!r} has {text.get_fontsize():.1f} points"


@check
def ticks_are_readable(drawn: Drawn) -> Iterator[str]:
    """Numbers beside an axis are short and plain, at least two of them; ratios read 1/4×, 1/2×, 1×, 2×."""
    for ax in drawn.figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            words = [label.get_text() for _, label in labels_of(axis)]
            if not words:
                continue
            name = axis.get_label().get_text()
            if axis.get_offset_text().get_text():
                yield f"{name!r} has the offset {axis.get_offset_text().get_text()!r}"
            is_numbers = all(_NUMBER.fullmatch(word) for word in words)
            if is_numbers and len(words) < 2:
                yield f"{name!r} has one number"
            if is_numbers and "baseline" in name:
                yield from (f"{name!r}: {word!r} is no ratio" for word in words if not _RATIO.fullmatch(word))
            yield from (f"{name!r}: {word!r}" for word in words if _is_hard(word))


_NUMBER = re.compile(r"[-−]?[\d.,/]*\d×?(?: ?(?:[munµ]?s|[MG]iB|%))?")
_RATIO = re.compile(r"(?:1/[\d,]+|[\d,]+(?:\.\d+)?)×")


def _is_hard(word: str) -> bool:
    """Whether a number is written with a power of ten or with more digits than one reads at a glance."""
    if "$" in word or re.search(r"\de[-+]?\d", word):
        return True
    digits = re.sub(r"[,.\s]|^0+(?:\.0*)?", "", word) if re.fullmatch(r"[-−\d.,]+", word) else ""
    return len(digits.rstrip("0") if "." not in word else digits) > MOST_DIGITS


@check
def everything_can_be_seen(drawn: Drawn) -> Iterator[str]:
    """Text and marks have enough contrast with what is behind them."""
    height = drawn.ground.shape[0]
    for text, corners in drawn.texts:
        left, low = np.maximum(corners.min(axis=0).astype(int), 0)
        right, high = corners.max(axis=0).astype(int) + 1
        pixels = drawn.ground[max(height - high, 0) : max(height - low, 1), left:right].reshape(-1, 3)
        behind = np.median(pixels, axis=0) if len(pixels) else np.ones(3)
        found = contrast(_hex(text.get_color()), _hex(behind))
        if found < LEAST_CONTRAST:
            yield f"{text.get_text()!r} has a contrast of {found:.1f}"
    for ax in drawn.figure.axes:
        for mark in [*ax.lines, *ax.patches]:
            found = max((contrast(each, style.PAPER) for each in _colours(mark)), default=LEAST_CONTRAST)
            if mark.get_visible() and mark.get_gid() != style.GROUND and found < LEAST_CONTRAST:
                yield f"{type(mark).__name__} {mark.get_label()} has a contrast of {found:.1f}"


def _colours(mark: Line2D | Patch) -> list[str]:
    """Return the colours that a mark is seen by, as they come out on paper."""
    alpha = 1.0 if mark.get_alpha() is None else mark.get_alpha()
    if isinstance(mark, Line2D):
        marker = [mark.get_markeredgecolor()] if mark.get_marker() not in (None, "", "None") else []
        return [_hex(each, alpha) for each in ([mark.get_color()] if mark.get_linestyle() != "None" else marker)]
    face = [mark.get_facecolor()] if mark.get_fill() else []
    edge = [mark.get_edgecolor()] if mark.get_linewidth() else []
    return [_hex(each) for each in (*face, *edge)]


def _hex(colour: Any, alpha: float = 1.0) -> str:
    red, green, blue, own = to_rgba(colour)
    return to_hex([channel * own * alpha + (1 - own * alpha) for channel in (red, green, blue)])


@check
def a_backend_has_its_colour(drawn: Drawn) -> Iterator[str]:
    """What a legend or a row names by a backend has that backend's colour, or a shade of it."""
    for name, colour in _named(drawn.figure):
        base = drawn.colours.get(name.split(" ")[0].rstrip(":"))
        if base is not None and not _is_shade(colour, base):
            yield f"{name!r} is {colour}, the backend {base}"


def _named(figure: Figure) -> Iterator[tuple[str, str]]:
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            first = handle[0] if isinstance(handle, tuple) else handle
            colour = first.get_color() if isinstance(first, Line2D) else first.get_facecolor()
            yield label, _hex(colour)
        places = {round(at, 6): label.get_text() for at, label in labels_of(ax.yaxis)}
        for mark in ax.patches:
            if isinstance(mark, Rectangle) and mark.get_gid() != style.GROUND:
                at = round(mark.get_y() + mark.get_height() / 2, 6)
                if at in places:
                    yield places[at].replace("\n", " "), _hex(mark.get_facecolor())
        for line in ax.lines:
            ys = {round(float(y), 6) for y in line.get_ydata()}
            if line.get_gid() is None and len(line.get_xdata()) == 1 and len(ys) == 1 and ys <= set(places):
                yield places[ys.pop()].replace("\n", " "), _hex(line.get_color())


def _is_shade(colour: str, base: str) -> bool:
    """Whether a colour is another one moved towards black: its channels stand in the same proportions."""
    own, other = (np.array(to_rgba(each)[:3]) for each in (colour, base))
    share = float(own @ other / (other @ other))
    return bool(share <= 1.01 and np.abs(own - share * other).max() < 0.012)


@dataclass(frozen=True)
class Mean:
    """A mean that is drawn: where it stands, along which axis it reads, and the interval at its place, if any."""

    ax: Any
    along: str
    at: float
    value: float
    colour: str
    interval: tuple[float, float] | None = None


def means_of(figure: Figure) -> Iterator[Mean]:
    """Yield every mean that a figure shows: the ends of bars from zero, and marks that have an interval."""
    for ax in figure.axes:
        intervals = [_interval(line) for line in ax.lines if line.get_gid() == INTERVAL]
        intervals = [one for one in intervals if one[2] != one[3]]  # a point has no direction
        for bars in ax.containers:
            if isinstance(bars, BarContainer):
                along = "y" if bars.orientation == "vertical" else "x"
                yield from (_bar(ax, bar, along, intervals) for bar in bars if _starts_at_the_axis(bar, along))
        marks = [line for line in ax.lines if line.get_gid() is None and line.get_marker() not in (None, "", "None")]
        for along, at, low, high, colour in intervals:
            values = [value for line in marks if _hex(line.get_color()) == colour for value in _values(line, along, at)]
            if values:  # of several marks of one colour at one place the nearest one is meant
                value = min(values, key=lambda each: abs(each - (low + high) / 2))
                yield Mean(ax, along, at, value, colour, (low, high))


def _values(line: Line2D, along: str, at: float) -> list[float]:
    """Return the values of a line's marks at a place on the other axis."""
    xs, ys = (list(map(float, data)) for data in line.get_data())
    places, values = (xs, ys) if along == "y" else (ys, xs)
    return [v for p, v in zip(places, values, strict=True) if math.isclose(p, at, rel_tol=1e-9, abs_tol=1e-12)]


def _interval(line: Line2D) -> tuple[str, float, float, float, str]:
    (x1, x2), (y1, y2) = (tuple(map(float, data)) for data in line.get_data())
    colour = _hex(line.get_color())
    return ("x", y1, x1, x2, colour) if y1 == y2 else ("y", x1, y1, y2, colour)


def _starts_at_the_axis(bar: Rectangle, along: str) -> bool:
    start = bar.get_y() if along == "y" else bar.get_x()
    return start == 0


def _bar(ax: Any, bar: Rectangle, along: str, intervals: list[tuple[str, float, float, float, str]]) -> Mean:
    vertical = along == "y"
    at = bar.get_x() + bar.get_width() / 2 if vertical else bar.get_y() + bar.get_height() / 2
    own = [
        (low, high) for way, place, low, high, _ in intervals if way == along and math.isclose(place, at, abs_tol=1e-9)
    ]
    value = bar.get_height() if vertical else bar.get_width()
    return Mean(ax, along, at, float(value), _hex(bar.get_facecolor()), own[0] if own else None)


@check
def a_mean_lies_in_its_interval(drawn: Drawn) -> Iterator[str]:
    """A mean lies between the ends of the interval at its place."""
    for mean in means_of(drawn.figure):
        if mean.interval is not None:
            low, high = mean.interval
            room = 1e-9 * max(abs(low), abs(high))
            if not low - room <= mean.value <= high + room:
                yield f"{mean.value:g} is not in [{low:g}, {high:g}]"


@check
def marks_stand_within_their_axes(drawn: Drawn) -> Iterator[str]:
    """No bar and no line leaves its axes, and together they take a fair part of them."""
    for ax in drawn.figure.axes:
        for along, values in _extents(ax).items():
            axis = ax.xaxis if along == "x" else ax.yaxis
            low, high = sorted(axis.get_view_interval())
            beyond = [value for value in values if not low - 1e-6 * high <= value <= high * (1 + 1e-6)]
            if beyond:
                yield f"{along} = {beyond[0]:g} lies outside of {low:g} to {high:g}"
            elif (
                values
                and axis.get_scale() == "linear"
                and max(*values, *_grounds(ax, along)) - low < 0.2 * (high - low)
            ):
                yield f"{along} ends at {high:g}, the marks at {max(values):g}"


def _grounds(ax: Any, along: str) -> list[float]:
    """Return where the lines behind the marks pass, which an axis has room for too."""
    lines = [np.asarray(line.get_xydata(), dtype=float) for line in ax.lines if line.get_gid() == style.GROUND]
    return [float(value) for line in lines for value in line[:, 0 if along == "x" else 1]] or [-math.inf]


def _extents(ax: Any) -> dict[str, list[float]]:
    """Return where bars end and lines pass, by axis, of what stands by the data of both axes."""
    found: dict[str, list[float]] = {"x": [], "y": []}
    bars = [bar for bars in ax.containers if isinstance(bars, BarContainer) for bar in bars]
    points = [(bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height()) for bar in bars]
    for line in ax.lines:
        if line.get_transform() == ax.transData and line.get_gid() not in (INTERVAL, ARROW, style.GROUND, style.ROUNDS):
            points += np.asarray(line.get_xydata(), dtype=float).tolist()
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            found["x"].append(x)
            found["y"].append(y)
    return found


@check
def what_is_cut_has_an_arrow(drawn: Drawn) -> Iterator[str]:
    """An interval that reaches beyond the axes ends in an arrow there."""
    for ax in drawn.figure.axes:
        arrows = [line.get_data() for line in ax.lines if line.get_gid() == ARROW]
        for line in ax.lines:
            if line.get_gid() != INTERVAL:
                continue
            along, at, *ends, _ = _interval(line)
            limits = sorted(ax.get_xlim() if along == "x" else ax.get_ylim())
            for end, limit, is_beyond in ((min(ends), limits[0], min), (max(ends), limits[1], max)):
                place = (limit, at) if along == "x" else (at, limit)
                if is_beyond(end, limit) == end != limit and not any(
                    np.allclose(place, [float(x[0]), float(y[0])]) for x, y in arrows
                ):
                    yield f"the interval at {at:g} goes on to {end:g} beyond {limit:g}"


@check
def a_decade_is_logarithmic(drawn: Drawn) -> Iterator[str]:
    """Means that span more than a factor of ten stand on a logarithmic axis, where the small ones can be read."""
    by_axis: dict[tuple[int, str], list[Mean]] = {}
    for mean in means_of(drawn.figure):
        by_axis.setdefault((id(mean.ax), mean.along), []).append(mean)
    for (_, along), means in by_axis.items():
        values = [mean.value for mean in means if mean.value > 0]
        ax = means[0].ax
        kind = ax.get_yscale() if along == "y" else ax.get_xscale()
        if "%" in (ax.get_ylabel() if along == "y" else ax.get_xlabel()):
            continue  # shares are read from 0 to 100 %
        if values and max(values) > DECADE * min(values) and kind != "log":
            yield f"{min(values):g} to {max(values):g} on a {kind} axis"


@check
def the_unknown_is_not_zero(drawn: Drawn) -> Iterator[str]:
    """Nothing stands at zero: what is not known is left out or named, and what was measured takes more than nothing."""
    for mean in means_of(drawn.figure):
        if mean.value == 0:
            yield f"a mean of 0 at {mean.at:g}"
    for ax in drawn.figure.axes:
        for line in ax.lines:
            if line.get_gid() is None and line.get_marker() not in (None, "", "None") and 0 in list(line.get_ydata()):
                yield f"{line.get_label()} has a point at 0"
