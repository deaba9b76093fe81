"""Each backend's mean, slowest and fastest quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ...collate.statistics.intervals import Interval, scale_mean
from ...core.contract.figure import Axes, Figure, Panels, Row
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.numbers import digits
from ..drawing.scales import scale_values
from ..drawing.series import Cell, Look, cells, looks, rounds_note, speed_label, speed_note, speed_of
from .backend_comparison import SQL


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a line from the slowest to the fastest format of each series, and the mean of all with its interval."""
    (ax,) = style.panels(axes)
    everything = cells(rows)
    speed = speed_of(everything)
    found = [cell for cell in everything if cell.column(speed.name)]
    look = looks(everything)
    series = sorted({cell.series for cell in found})
    own = {name: [cell for cell in found if cell.series == name] for name in series}
    series.sort(key=lambda name: -(over_formats(own[name], speed.name).value or 0.0))
    for name, y in zip(series, style.name_rows(ax, series), strict=True):
        _row(ax, own[name], speed.name, y, look[name])
    scale_values(ax, "x", [value for cell in found for value in cell.column(speed.name)])
    rounds = rounds_note(len(cell.column(speed.name)) for cell in found)
    has_interval = any(over_formats(own[name], speed.name).low is not None for name in series)
    interval = (
        "thick line: its 95 % t interval over rounds that ran every format, for these prompts; " if has_interval else ""
    )
    style.note(
        ax,
        f"Marker: mean over formats of the geometric means over rounds; {interval}ticks: slowest and fastest format. "
        f"{rounds} of each format. "
        f"{speed_note(speed)}",
        label=speed_label(speed),
    )


def over_formats(formats: Sequence[Cell], column: str) -> Interval:
    """Return the mean over formats, with its interval over the rounds in which every format ran."""
    by_round = [
        {row["round"]: float(row[column]) for row in cell.rows if row.get(column) is not None} for cell in formats
    ]
    common = sorted(set.intersection(*(set(rounds) for rounds in by_round)))
    if len(common) < 2:
        return Interval(fmean(scale_mean(cell.column(column)).value or 0.0 for cell in formats), n=len(common))
    return scale_mean([fmean(rounds[number] for rounds in by_round) for number in common])


def _row(ax: Axes, formats: Sequence[Cell], column: str, y: float, look: Look) -> None:
    means = sorted(((scale_mean(cell.column(column)).value or 0.0, cell.group) for cell in formats), key=lambda m: m[0])
    mean = over_formats(formats, column)
    ax.plot([means[0][0], means[-1][0]], [y, y], "|-", color=look.colour, linewidth=1.2, markersize=9,
            gid=style.ROUNDS)  # fmt: skip
    interval(ax, y, (mean.low, mean.high), along="x", colour=look.colour, width=4)
    ax.plot([mean.value or 0.0], [y], look.marker, color=look.colour, markeredgecolor=style.INK, markeredgewidth=0.6)
    ax.annotate(_words(means, mean), (means[0][0], y), (0, 9), textcoords="offset points", fontsize=style.SMALL)


def _words(means: Sequence[tuple[float, str]], mean: Interval) -> str:
    (slowest, least), (fastest, most) = means[0], means[-1]
    if len(means) == 1:
        return f"{digits(fastest)} ({most})"
    return f"mean {digits(mean.value or 0.0)}; {digits(slowest)} ({least}) to {digits(fastest)} ({most})"


FIGURE = Figure(id="summary_stats", title="Performance summary over all quantisations", sql=SQL, draw=draw)
