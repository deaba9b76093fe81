"""From the store to figure files: run a figure's query, draw its rows, write the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..core.contract.figure import Figure, Row
from ..core.errors import UsageError, plugin_code, unknown_name
from ..core.files import write_whole
from ..core.foreign_text import own_path_part
from .drawing import style
from .drawing.intervals import mark_ends
from .drawing.labels import hide_overlapping

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from ..collate.comparison.result import Comparison, ComparisonRow

Format = Literal["png", "svg", "pdf"]

_MOST_CELLS = 200  # drawing time grows with their square, and names no longer fit


class Queryable(Protocol):
    """What a figure needs of the store."""

    def query(self, sql: str, params: dict[str, Any] | None = None) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Return the columns and the rows of a query."""
        ...


class MissingDataError(UsageError):
    """The store does not hold what a figure shows.

    Attributes:
        written: the files of the figures that it does hold.
    """

    code = "data-missing"

    def __init__(self, text: str, written: Sequence[Path] = ()) -> None:
        super().__init__(text)
        self.written = list(written)


def choose(known: Iterable[Figure], ids: Sequence[str] | None = None) -> list[Figure]:
    """Return the figures with these ids in their order, or all.

    Raises:
        UsageError: an id is not known.
    """
    by_id = {figure.id: figure for figure in known}
    for name in ids or ():
        if name not in by_id:
            raise unknown_name("figure", name, by_id, "`decodebench plot --list` says what each figure shows")
    return [by_id[name] for name in ids] if ids else list(by_id.values())


def read(store: Queryable, figure: Figure, comparison: Comparison) -> list[Row]:
    """Run the figure's query over the comparison's experiment.

    A row with a ``cell_id`` also gets what the comparison says of that cell, so that no figure computes it anew; see
    ``compared``. What the query itself calls by one of these names stays.

    Raises:
        MissingDataError: the query has no rows.
    """
    columns, values = store.query(figure.sql, {"experiment": comparison.experiment})
    if not values:
        raise MissingDataError(f"experiment {comparison.experiment!r} has no {figure.needs}")
    if len(comparison.rows) > _MOST_CELLS:
        raise MissingDataError(
            f"experiment {comparison.experiment!r} has {len(comparison.rows)} cells, more than the {_MOST_CELLS} that "
            "a figure can tell apart; `decodebench export` and `query` give their figures"
        )
    said = {row.cell.cell_id: compared(row, comparison) for row in comparison.rows}
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    return [said.get(row.get("cell_id", ""), {}) | row for row in rows]


def compared(row: ComparisonRow, comparison: Comparison) -> Row:
    """Return what a comparison says of a cell as columns.

    ``compared_metric``, ``verdict``, ``is_baseline``; ``ratio`` with ``ratio_low``, ``ratio_high`` (the simultaneous
    interval; None where the logs support none), ``ratio_n`` rounds and ``ratio_over``, what it speaks of; where the
    task was scored ``accuracy_task``, ``accuracy`` (a share) with ``accuracy_low``, ``accuracy_high`` and ``problems``,
    else None.
    """
    accuracy = row.accuracy.value if row.accuracy else None
    return {
        "compared_metric": comparison.metric,
        "verdict": row.verdict,
        "is_baseline": row.verdict == "baseline",
        "ratio": row.ratio.value,
        "ratio_low": row.ratio_simultaneous.low,
        "ratio_high": row.ratio_simultaneous.high,
        "ratio_n": row.ratio.n,
        "ratio_over": comparison.over,
        "accuracy_task": row.accuracy.task if row.accuracy else None,
        "accuracy": accuracy.value if accuracy else None,
        "accuracy_low": accuracy.low if accuracy else None,
        "accuracy_high": accuracy.high if accuracy else None,
        "problems": accuracy.n if accuracy else None,
    }


def draw(figure: Figure, rows: Sequence[Row], subtitle: str = "") -> Canvas:
    """Draw a figure from rows; ``subtitle`` names the experiment. Call it within ``style.applied``."""
    title = f"{figure.title} · {subtitle}" if subtitle else figure.title
    canvas, axes = style.canvas(title, figure.panels)
    with plugin_code(f"figure {figure.id!r}"):
        figure.draw(axes[0] if figure.panels == 1 else axes, rows)
    mark_ends(canvas)
    hide_overlapping(canvas)
    return canvas


def image(
    figure: Figure, rows: Sequence[Row], fmt: Format, subtitle: str = "", look: style.Style = style.STYLES["page"]
) -> bytes:
    """Return a drawn figure as the bytes of a file; equal rows give equal bytes."""
    with style.applied(figure.id, look):
        return style.to_bytes(draw(figure, rows, subtitle), fmt)


def plot(
    store: Queryable,
    figures: Sequence[Figure],
    comparison: Comparison,
    out_folder: Path,
    fmt: Format,
    *,
    look: str = "page",
) -> list[Path]:
    """Draw figures into ``out_folder`` as ``<experiment>_<id>.<fmt>`` and return the files, in the same order.

    Args:
        store: where their rows come from.
        figures: what to draw.
        comparison: chooses the experiment, and the baseline of ratios.
        out_folder: made where it is missing.
        fmt: of the files.
        look: name of a style.

    Raises:
        UsageError: the format or the style is not known.
        MissingDataError: the store lacks what a figure shows; nothing was written for it, the others are there.
    """
    if fmt not in get_args(Format):
        raise unknown_name("figure format", fmt, get_args(Format))
    if look not in style.STYLES:
        raise unknown_name("style", look, style.STYLES)
    experiment = comparison.experiment
    written: list[Path] = []
    missing: dict[str, list[str]] = {}
    for figure in figures:
        try:
            content = image(figure, read(store, figure, comparison), fmt, experiment, style.STYLES[look])
        except UsageError as error:
            missing.setdefault(str(error).removeprefix(f"figure {figure.id!r}: "), []).append(figure.id)
            continue
        written.append(
            write_whole(out_folder / f"{own_path_part(experiment)}_{own_path_part(figure.id)}.{fmt}", content)
        )
    if missing:
        raise MissingDataError("\n".join(_not_drawn(reason, ids) for reason, ids in missing.items()), written)
    return written


def _not_drawn(reason: str, ids: Sequence[str]) -> str:
    names = ", ".join(repr(name) for name in ids)
    return f"figure{'s' if len(ids) > 1 else ''} {names}: {reason}"
