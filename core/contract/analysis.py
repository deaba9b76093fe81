"""What a plugin adds to ``decodebench speculation``: figures of what its own decoder records of verify cycles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from pydantic import Field

from ..records.schema import Record


class AnalysisTable(Record):
    """A table of the terminal, at most 80 columns wide, and notes below it."""

    columns: tuple[str, ...] = Field((), description="headers after that of the cell; newlines separate lines")
    rows: tuple[tuple[str, ...], ...] = Field((), description="the cell's name, then an entry per column")
    notes: tuple[str, ...] = Field((), description="lines below; shown even if there are no rows")
    ends_in_text: bool = Field(False, description="whether the last column may wrap; the others must not")


class Section(Record, ABC):
    """What an analysis found; ``--json`` prints its fields."""

    @abstractmethod
    def tables(self, names: Mapping[str, str]) -> Iterable[AnalysisTable]:
        """Return what the terminal shows.

        Args:
            names: what a cell is called in the tables, by its label.
        """

    def warnings(self) -> Iterable[str]:
        """Return what the reader must know before trusting the figures."""
        return ()


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    A = TypeVar("A", bound=Record, default=Any)
    """What an analysis is given; where it is not named, as in the host, any."""
else:
    from typing import TypeVar

    A = TypeVar("A", bound=Record)


@dataclass(frozen=True, slots=True)
class Analysis(Generic[A]):
    """An analysis that a plugin adds to ``decodebench speculation``.

    Attributes:
        name: key of its figures in ``--json``.
        summary: one line on what it shows.
        analyse: gets the host's own analysis, with the verify cycles of every cell; None where no cell records what it
            is about. ``Analysis[decodebench.collate.speculation.Speculation]`` has it typed.
    """

    name: str
    summary: str
    analyse: Callable[[A], Section | None]
