"""Formats that are a table of figures: one that is JSON is known by its keys, one within pages of text by its labels.

::

    class MyReport(JsonFormat):
        \"\"\"Reads one run per file.\"\"\"

        name, summary, version = "my-report", "report.json of my tool", "1"
        keys = ("engine_name", "generated", "elapsed_ms")
        figures = form(
            Figure("engine_name", "run.backend", "text"),
            Figure("generated", "totals.output_tokens", "count"),
            Figure("elapsed_ms", "totals.wall_s", "ms"),
        )
        notes = ("there are sums alone",)

That is a whole parser. A format with samples, or with several runs in an object or a block, has its own ``records``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from ...contract.log_parser import LogParser
from ...records.schema import RecordedStep, Run, Sample
from .fields import Fields, flat
from .figures import Figure, Gathered, gather
from .json_files import read_each, unwrapped
from .pages import Block, Labels, blocks, model_above, place_of
from .runs import UNKNOWN, digest_of
from .structure import holds, keys_within, page_of, text_of
from .text import malformed


class JsonFormat(LogParser):
    """A format whose files are JSON, of whatever length.

    Attributes:
        keys: what its first object has, itself or in objects within it.
        either: further keys, of which versions of the format have the one or the other.
        lacks: keys that together make it another format.
        figures: by the dotted paths of values.
        notes: what is said of each run.
    """

    keys: ClassVar[Sequence[str]]
    either: ClassVar[Sequence[Sequence[str]]] = ()
    lacks: ClassVar[Sequence[str]] = ()
    figures: ClassVar[Mapping[str, Figure]] = {}
    notes: ClassVar[Sequence[str]] = ()

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the keys."""
        if not holds(path, head, *self.keys) or (self.lacks and holds(path, head, *self.lacks)):
            return False
        return not self.either or any(holds(path, head, *keys) for keys in self.either)

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the records of each object of the file."""
        known = {*self.keys, *(name for names in self.either for name in names)}
        for content, digest in read_each(path):
            rows = [content] if set(self.keys) & content.content.keys() else unwrapped(content)
            if known.isdisjoint(keys_within(content.content)):
                raise malformed(path, content.line, self.keys[0], "not in this object, which is of another format")
            for at, row in enumerate(rows):
                yield from self.records(f"sha256-{digest}-{at}" if len(rows) > 1 else f"sha256-{digest}", row)

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the records of an object: by default one run without samples, of its figures.

        Args:
            run_id: of its run; where it has several, the beginning of their ids.
            content: the object.
        """
        gathered = gather(self.figures, flat(content.content))
        further = self.complete(gathered)
        yield gathered.as_run(run_id, self.name, notes=(*self.notes, *further))

    def complete(self, gathered: Gathered) -> Sequence[str]:
        """Add what follows from the figures of a run; returns further notes."""
        return ()


class Piece(Protocol):
    """What a page has of a format, once."""

    @property
    def above(self) -> Sequence[str]:
        """The lines between the piece before and this one."""


P = TypeVar("P", bound=Piece)


class PageFormat(LogParser, Generic[P]):
    """A format within pages of text; each piece of it gives records of its own.

    Attributes:
        words: what is in every page that has a piece; the first is the field that errors name.
    """

    within_pages = True
    words: ClassVar[Sequence[str]]

    @abstractmethod
    def pieces(self, lines: Sequence[str]) -> Iterable[P]:
        """Yield the pieces that the lines of a page have, or return them; one is enough to recognise the page."""

    @abstractmethod
    def records(self, run_id: str, piece: P, where: Mapping[str, str | int]) -> Iterator[Run | Sample]:
        """Yield the records of a piece.

        Args:
            run_id: of its run.
            piece: the piece.
            where: what tells it from the others of its page, a condition: nothing shows that they were run alike.
        """

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a piece."""
        text = text_of(path)
        return all(word in text for word in self.words) and any(True for _ in self.pieces(text.split("\n")))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the records of each piece."""
        text = page_of(path)
        found = list(self.pieces(text.split("\n")))
        if not found:
            raise malformed(path, 1, self.words[0], "nothing of this format on the page is whole")
        base = f"{self.name}-{digest_of(text)}"
        for at, piece in enumerate(found):
            yield from self.records(f"{base}-{at}", piece, place_of(piece.above, at, len(found)))


class BlockFormat(PageFormat[Block]):
    """A format of blocks of `label: value` lines; each block is a run, by default without samples.

    Attributes:
        figures: by the labels.
        family: a pattern of further labels, see ``Labels``.
        needs: the label without which there is no block.
        marker: what stands on the line that begins one, if anything does.
        notes: what is said of each run.
    """

    figures: ClassVar[Mapping[str, Figure]]
    family: ClassVar[str | None] = None
    needs: ClassVar[str]
    marker: ClassVar[str | None] = None
    notes: ClassVar[Sequence[str]] = ()

    def pieces(self, lines: Sequence[str]) -> Iterator[Block]:
        """Yield the blocks."""
        return blocks(lines, Labels(self.figures, self.family), self.needs, self.marker)

    def records(self, run_id: str, piece: Block, where: Mapping[str, str | int]) -> Iterator[Run | Sample]:
        """Yield the run of a block."""
        yield gather(self.figures, piece.found).as_run(
            run_id,
            UNKNOWN,
            model=model_above(piece.above) or UNKNOWN,
            conditions=where,
            source_line=piece.line,
            notes=tuple(self.notes),
        )
