"""The console of every command: it prints text and its own styles, and nothing that acts on the terminal besides."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..foreign_text import printable


class PrintingConsole(Console):
    """A console in which an escape sequence in a name is shown rather than obeyed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what is printed; segments of control are the console's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
