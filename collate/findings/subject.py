"""What every check of an experiment gets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from ...core.contract.finding import Place
from ...core.records.machine_load import is_busy
from ...core.records.store import Store
from ..comparison.labels import labels
from ..comparison.observations import Cell, Row

NOTABLE = 0.05
"""Scatter of a cell's rounds, or distance of one from its twins, that does harm."""


@dataclass(frozen=True)
class Subject:
    """The cells, their names, the metric and the difference that matters.

    Attributes:
        store: where steps can be looked up.
        experiment: its name.
        cells: in the order of the plan.
        metric: name in ``METRICS`` by which rounds are judged.
        min_effect: relative difference that the experiment is meant to tell.
    """

    store: Store
    experiment: str
    cells: list[Cell]
    metric: str
    min_effect: float

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


def by_model(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Group the cells that ran one model on one task.

    A log of a wrapper may have a size label in the place of the model's name: where one named model of that size
    answered the same task, it is that one.
    """
    groups = grouped(cells, lambda cell: (cell.run["model"], cell.run["task"]))
    named = [group for group in groups if not _is_size(group[0])]
    for group in (group for group in groups if _is_size(group[0])):
        alike = [other for other in named if _size_and_task(other[0]) == _size_and_task(group[0])]
        if len(alike) == 1:
            alike[0].extend(group)
        else:
            named.append(group)
    return named


def _is_size(cell: Cell) -> bool:
    return cell.run["size"] is not None and cell.run["model"] == cell.run["size"]


def _size_and_task(cell: Cell) -> tuple[object, object]:
    return cell.run["size"], cell.run["task"]


def word_of(cell: Cell) -> str:
    """Return the word by which a format was asked for: what a wrapper's log has besides, else the format itself."""
    for source in ("extra", "settings"):
        word = (cell.run.get(source) or {}).get("published_quantize")
        if word is not None:
            return str(word)
    return str(cell.run["quantisation"])


def temperature_of(cell: Cell) -> float | None:
    """Return the temperature, 0 being greedy; None where the log has none."""
    temperature: float | None = (cell.run["sampling"] or {}).get("temperature")
    return temperature


def was_busy(run: Row) -> bool:
    """Whether others kept the machine busy while a run ran; False where its log does not say."""
    return is_busy(run["other_cpus"], (run["environment"] or {}).get("cores_used"))


def rounds_of(*cells: Cell) -> list[Place]:
    """Name every finished round of some cells."""
    return [Place(run_id=r.run["run_id"]) for cell in cells for r in cell.rounds]


def samples_at(samples: Iterable[Row]) -> list[Place]:
    """Name samples, of which there may be a great many: the store has checked both columns."""
    return [Place.model_construct(run_id=sample["run_id"], sample=sample["index"]) for sample in samples]
