"""The figures of the slides: drawn for a slide, and which of them get one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from ...collate.comparison.result import Comparison
from ...core.contract.figure import Figure
from ...core.errors import UsageError
from ...core.records.schema import Record
from ...core.records.store import Store
from ..drawing import style
from ..plot import draw, read
from ..privacy import Names

MOST_FIGURES = 5
"""With title, answer, accuracy, doubts, methods, machine and plan that makes twelve slides."""
_GENERAL = "comparison"  # topic of the figures that any experiment has
# The slide has the title and the caption; typst has no font of matplotlib's, so text is drawn as shapes.
LOOK = replace(
    style.STYLES["talk"],
    width_in=12.5,
    panel_in=4.8,
    has_title=False,
    has_caption=False,
    is_wide=True,
    has_outlines=True,
    most_rows=20,
)


class Picture(Record):
    """One drawn figure."""

    id: str = Field(description="the figure's id, as `decodebench plot` takes it")
    title: str = Field(description="headline")
    file: str = Field(description="SVG beside deck.json")
    caption: str = Field(description="what the marks stand for, with n")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the figures of an experiment came to.

    Attributes:
        drawn: those with a slide, with their SVG.
        further: ids of others that the logs support.
        missing: a sentence for every reason why others are not drawn.
    """

    drawn: Mapping[Picture, bytes]
    further: Sequence[str] = ()
    missing: Sequence[str] = ()


def draw_pictures(
    store: Store,
    comparison: Comparison,
    figures: Sequence[Figure],
    *,
    names: Names | None = None,
    most: int | None = MOST_FIGURES,
) -> Pictures:
    """Draw figures for slides.

    Args:
        store: where their rows come from.
        comparison: chooses the experiment, and the baseline of ratios.
        figures: in the order of the slides.
        names: of hosts and users, which the figures then have not.
        most: how many get a slide: two that any experiment has, then those of what it was about, then the rest; None
            for all.
    """
    drawn: dict[Picture, bytes] = {}
    missing: dict[str, list[str]] = {}
    for figure in figures:
        try:
            rows = read(store, figure, comparison)
            with style.applied(figure.id, LOOK):
                canvas = draw(figure, rows if names is None else names.hide(rows))
                content = style.to_bytes(canvas, "svg")
        except UsageError as error:
            missing.setdefault(str(error), []).append(figure.id)
            continue
        file = f"figures/{figure.id}.svg"
        drawn[Picture(id=figure.id, title=figure.title, file=file, caption=style.caption(canvas))] = content
    first = _by_weight([figure for figure in figures if any(picture.id == figure.id for picture in drawn)])[:most]
    return Pictures(
        drawn={picture: content for picture, content in drawn.items() if picture.id in first},
        further=[picture.id for picture in drawn if picture.id not in first],
        missing=[f"{', '.join(ids)}: {reason}" for reason, ids in missing.items()],
    )


def _by_weight(figures: Sequence[Figure]) -> list[str]:
    general = [figure.id for figure in figures if figure.topic == _GENERAL]
    special = [figure.id for figure in figures if figure.topic != _GENERAL]
    return [*general[:2], *special, *general[2:]]
