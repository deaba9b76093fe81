"""What every check of an experiment gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from ...core.contract.finding import Place
from ...core.records.store import Store
from ..comparison.labels import labels
from ..comparison.observations import Cell, Row


@dataclass(frozen=True)
class Subject:
    """The cells, their names, the metric and the difference that matters.

    Attributes:
        store: where steps can be looked up.
        experiment: its name.
        cells: in the order of the plan.
        metric: name in ``METRICS`` by which rounds are judged.
        min_effect: relative difference that the experiment is meant to tell.
        undecided: ids of the cells whose comparison showed nothing; None where none was made.
    """

    store: Store
    experiment: str
    cells: list[Cell]
    metric: str
    min_effect: float
    undecided: Collection[str] | None = None

    @cached_property
    def names(self) -> dict[str, str]:
        """The cells' labels, by id."""
        return {cell_id: label.label for cell_id, label in labels(self.cells).items()}

    def name(self, cell: Cell) -> str:
        """Return a cell's label in quotes."""
        return repr(self.names[cell.cell_id])

    @property
    def finished(self) -> list[Cell]:
        """The cells that have a finished round."""
        return [cell for cell in self.cells if cell.rounds]


def grouped(cells: Iterable[Cell], key: Callable[[Cell], Hashable]) -> list[list[Cell]]:
    """Group cells that agree in a key, in the order of their first."""
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def rounds_of(*cells: Cell) -> list[Place]:
    """Name every finished round of some cells."""
    return [Place(run_id=r.run["run_id"]) for cell in cells for r in cell.rounds]


def samples_at(samples: Iterable[Row]) -> list[Place]:
    """Name samples, of which there may be a great many: the store has checked both columns."""
    return [Place.model_construct(run_id=sample["run_id"], sample=sample["index"]) for sample in samples]
