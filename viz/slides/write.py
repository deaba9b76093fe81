"""Write a presentation's files, and compile them to a PDF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...collate.comparison.reproduce import plan_toml
from ...collate.comparison.result import Comparison
from ...core.contract.figure import Figure
from ...core.errors import DecodebenchError, UsageError
from ...core.files import write_whole
from ...core.records.store import Store
from ..drawing import style
from ..plot import draw, read
from .deck import Deck, Picture, make_deck

TEMPLATE = Path(__file__).parent / "slides.typ"
# The slide has the title and the caption; typst has no font of matplotlib's, so text is drawn as shapes.
_LOOK = replace(
    style.STYLES["talk"],
    width_in=12.5,
    panel_in=4.8,
    has_title=False,
    has_caption=False,
    is_wide=True,
    has_outlines=True,
)


def write_slides(
    store: Store,
    comparison: Comparison,
    pdf: Path,
    sources: Path,
    *,
    figures: Sequence[Figure],
    template: Path = TEMPLATE,
) -> Path:
    """Write ``slides.typ``, ``deck.json`` and the figures into ``sources``, compile them to ``pdf`` and return it.

    Equal stores give equal bytes: the PDF's date is that of the experiment.

    Args:
        store: where figures, dates and the environment come from.
        comparison: what the slides are about.
        pdf: the presentation.
        sources: folder of what it is made from; made where it is missing.
        figures: one slide each, where the logs support it.
        template: a Typst file that reads ``deck.json`` beside itself.

    Raises:
        UsageError: the template cannot be read or does not compile, or typst is not installed; the sources are there.
        DecodebenchError: a file cannot be written.
    """
    try:
        text = template.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the template {template}: {error.strerror or error}", code="file-unreadable"
        ) from error
    drawn, missing = _figures(store, comparison, figures)
    deck = make_deck(store, comparison, list(drawn), missing, plan_toml(store, comparison.experiment))
    for picture, content in drawn.items():
        write_whole(sources / picture.file, content)
    write_whole(sources / "deck.json", as_json(deck))
    source = write_whole(sources / "slides.typ", text)
    return write_whole(pdf, compiled(source, deck))


def as_json(deck: Deck) -> bytes:
    """Return ``deck.json``; numbers have ten digits, since sums over parallel threads differ in their last ones."""
    content = _steady(deck.model_dump(mode="json"))
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _steady(content: object) -> object:
    if isinstance(content, float):
        return float(f"{content:.10g}")
    if isinstance(content, dict):
        return {name: _steady(value) for name, value in content.items()}
    return [_steady(value) for value in content] if isinstance(content, list) else content


def _figures(store: Store, comparison: Comparison, figures: Sequence[Figure]) -> tuple[dict[Picture, bytes], list[str]]:
    """Return each figure that the logs support with its SVG, and a sentence for every reason why others are not."""
    drawn: dict[Picture, bytes] = {}
    missing: dict[str, list[str]] = {}
    for figure in figures:
        try:
            rows = read(store, figure, comparison)
            with style.applied(figure.id, _LOOK):
                canvas = draw(figure, rows)
                content = style.to_bytes(canvas, "svg")
        except UsageError as error:
            missing.setdefault(str(error), []).append(figure.id)
            continue
        file = f"figures/{figure.id}.svg"
        drawn[Picture(id=figure.id, title=figure.title, file=file, caption=style.caption(canvas))] = content
    return drawn, [f"{', '.join(ids)}: {reason}" for reason, ids in missing.items()]


def compiled(source: Path, deck: Deck) -> bytes:
    """Return the PDF of a Typst file.

    Raises:
        UsageError: the file does not compile, or typst is not installed.
    """
    try:
        import typst
    except ModuleNotFoundError as error:
        advice = f"pip install 'decodebench[slides]', or `typst compile {source}`"
        raise UsageError(
            f"the PDF of the slides needs the package typst, which is not installed: {advice}", code="package-missing"
        ) from error

    day = datetime.fromisoformat(deck.date).replace(tzinfo=UTC) if deck.date else datetime(1970, 1, 1, tzinfo=UTC)
    try:
        made = typst.compile(source, root=source.parent, format="pdf", timestamp=int(day.timestamp()))
    except typst.TypstError as error:
        raise UsageError(
            f"{source} does not compile: {error.diagnostic or error.message}", code="file-unreadable"
        ) from error
    if not isinstance(made, bytes):
        raise DecodebenchError(f"typst made no PDF of {source}")
    return made
