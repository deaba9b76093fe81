"""Tables that lose nothing in a narrow terminal: where columns do not fit, each row is a block of lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_UNLIMITED = 100_000
_WORD_KEPT = 32  # characters of a word that is not folded: paths may be


class FittingTable(Table):
    """A table of texts that is printed row by row where it is too narrow for its words and its unfoldable columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or its rows as blocks."""
        if self._least_width(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        title = ""
        headings = [str(column.header) for column in self.columns[1:]]
        for first, *others in zip(*(column.cells for column in self.columns), strict=True):
            title = str(first) or title  # further rows of one cell leave its name out
            yield from block(title, zip(headings, others, strict=True))

    def _least_width(self, console: Console, options: ConsoleOptions) -> int:
        """Return the width in which no word is broken; rich itself counts words of columns that it then crops."""
        natural = Measurement.get(console, options.update(width=_UNLIMITED), self).maximum
        return natural - sum(_longest_line(column) - _least(column) for column in self.columns)


def block(title: str, pairs: Iterable[tuple[str, object]]) -> Iterator[Text]:
    """Yield a row as lines: its name, then each further value behind its heading; what is empty is left out."""
    yield Text(title, style="bold", overflow="fold")
    for heading, value in pairs:
        text = value if isinstance(value, Text) else Text(str(value or ""))
        if text.plain.strip():
            words = " ".join(heading.split())
            line = Text(f"  {words}: " if words else "  ", overflow="fold")
            yield line.append(" ".join(text.plain.split("\n")), text.style)


def _longest_line(column: Column) -> int:
    lines = (line for cell in _texts(column) for line in cell.split("\n"))
    return max(max(map(cell_len, lines), default=0), column.min_width or 0, column.width or 0)


def _least(column: Column) -> int:
    """Return the width below which a column loses or breaks something."""
    if column.no_wrap or column.width:
        return _longest_line(column)
    longest = max((cell_len(word) for cell in _texts(column) for word in cell.split()), default=0)
    return max(min(longest, _WORD_KEPT), column.min_width or 0)


def _texts(column: Column) -> Iterator[str]:
    yield str(column.header)
    yield from map(str, column.cells)
