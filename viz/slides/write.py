"""Write a presentation's files, and compile them to a PDF."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from ...core.errors import DecodebenchError, UsageError
from ...core.files import write_whole
from .deck import Deck
from .pictures import Pictures

TEMPLATE = Path(__file__).parent / "slides.typ"
PDF = "report.pdf"
"""The usual name, whose sources are in ``slides``; those of ``talk.pdf`` are in ``talk-slides``."""


def write_slides(deck: Deck, pdf: Path, pictures: Pictures, *, template: Path = TEMPLATE) -> Path:
    """Write ``slides.typ``, ``deck.json`` and the figures into a folder beside ``pdf``, compile them and return it.

    Equal stores give equal bytes: the PDF's date is that of the experiment.

    Args:
        deck: what the slides say.
        pdf: the presentation.
        pictures: one slide each.
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
    sources = pdf.with_name("slides" if pdf.name == PDF else f"{pdf.stem}-slides")
    for picture, content in pictures.drawn.items():
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
