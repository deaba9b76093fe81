"""What every check of an experiment gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .observations import Cell


@dataclass(frozen=True, slots=True)
class Subject:
    """The cells, their names, the metric and the difference that matters.

    Attributes:
        undecided: ids of the cells whose comparison showed nothing; None where none was made.
    """

    cells: list[Cell]
    names: dict[str, str]
    metric: str
    min_effect: float
    undecided: Collection[str] | None

    def name(self, cell: Cell) -> str:
        """Return a cell's label in quotes."""
        return repr(self.names[cell.cell_id])
