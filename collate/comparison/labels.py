"""What rows of a comparison are called, and which of them differ in one dimension only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from ...core.errors import unknown_name
from .observations import Cell, Row
from .result import CellLabel

_VECTORS = 0.05  # bits by which measured formats fall short of their width, rounding included

DIMENSIONS = ("backend", "model", "quantisation", "device")


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that are compared with one another, and which of them is the baseline."""

    baseline: Cell
    others: list[Cell]


def as_text(value: JsonValue) -> str:
    """An option's value as a user writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def option_values(cell: Cell) -> dict[str, str]:
    """Return a cell's options as text."""
    return {name: as_text(value) for name, value in cell.run["options"].items()}


def labels(cells: Sequence[Cell]) -> dict[str, CellLabel]:
    """Return a short and unique label for every cell, by cell id."""
    differing = [name for name in DIMENSIONS if len({cell.run[name] for cell in cells}) > 1]
    several_hosts = len({cell.run["hostname"] for cell in cells}) > 1
    made: dict[str, CellLabel] = {}
    for cell in cells:
        run = cell.run
        options = _differing_options(cell, cells)
        words = [run["backend"], run["quantisation"]]
        words += [run[name] for name in ("model", "device") if name in differing]
        words += [f"on {run['hostname']}"] if several_hosts and run["hostname"] else []
        told = tuple(name for name in options if _is_told(run, name))
        words += [f"{name}={options[name]}" for name in told]
        made[cell.cell_id] = CellLabel(
            cell_id=cell.cell_id,
            label=" ".join(words),
            options=options,
            told=told,
            bits_per_weight=run["bits_per_weight"],
            **{name: run[name] for name in DIMENSIONS},
        )
    texts = [label.label for label in made.values()]
    for cell_id, label in made.items():
        if texts.count(label.label) > 1:
            made[cell_id] = label.model_copy(update={"label": f"{label.label} #{cell_id[:8]}"})
    return made


def _differing_options(cell: Cell, cells: Sequence[Cell]) -> dict[str, str]:
    """Options in which the cell differs from another of its own backend; other backends have options of their own.

    A log that does not tell an option says nothing of a difference.
    """
    mine = option_values(cell)
    twins = [option_values(other) for other in cells if other.run["backend"] == cell.run["backend"]]
    return {name: value for name, value in mine.items() if any(twin.get(name, value) != value for twin in twins)}


def _is_told(run: Row, name: str) -> bool:
    """Whether an option belongs into a label: one at its default does not, since other cells have it in theirs."""
    changed = run.get("changed_options")
    return changed is None or name in changed


def infer_by(cells: Sequence[Cell]) -> str:
    """Return the first dimension in which cells differ, an option's name where only options do."""
    for name in DIMENSIONS:
        if len({cell.run[name] for cell in cells}) > 1:
            return name
    for cell in cells:
        for name in _differing_options(cell, cells):
            return name
    return "cell"


def value_of(cell: Cell, by: str) -> str | None:
    """Return a cell's value of a dimension or option; None where it has no such option."""
    if by in DIMENSIONS:
        return str(cell.run[by])
    return option_values(cell).get(by)


def check_by(cells: Sequence[Cell], by: str) -> None:
    """Raise ``UsageError`` where ``by`` is neither a dimension nor an option of any cell."""
    known = {*DIMENSIONS, *(name for cell in cells for name in cell.run["options"])}
    if by not in known:
        raise unknown_name("dimension", by, known, "--by takes one of these")


def find_baseline(cells: Sequence[Cell], names: dict[str, CellLabel], wanted: str | None, by: str | None) -> Cell:
    """Return the baseline: the cell so labelled, the first with such a value, or the plan's first.

    Raises:
        UsageError: no cell has that label or value.
    """
    if wanted is None:
        return cells[0]
    for cell in cells:
        if wanted in (cell.cell_id, names[cell.cell_id].label):
            return cell
    dimensions = (by,) if by else DIMENSIONS
    for dimension in dimensions:
        for cell in cells:
            if value_of(cell, dimension) == wanted:
                return cell
    known = {value for d in dimensions for cell in cells if (value := value_of(cell, d)) is not None}
    raise unknown_name("baseline", wanted, known | {label.label for label in names.values()})


def groups(cells: Sequence[Cell], by: str, baseline: Cell) -> list[Group]:
    """Split cells into groups that differ in ``by`` only, the baseline's own group first.

    The baseline of another group is its first cell with the baseline's value, else its first cell. Where no two cells
    differ in ``by`` only, all cells are one group.
    """
    members: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        members.setdefault(_apart_from(cell, by), []).append(cell)
    if all(len(group) == 1 for group in members.values()):
        return [Group(baseline, [cell for cell in cells if cell is not baseline])]
    result = []
    for group in members.values():
        same_value = [cell for cell in group if value_of(cell, by) == value_of(baseline, by)]
        first = baseline if baseline in group else (same_value or group)[0]
        result.append(Group(first, [cell for cell in group if cell is not first]))
    return sorted(result, key=lambda group: group.baseline is not baseline)


def mixed_dimensions(grouped: Sequence[Group], by: str) -> list[str]:
    """Return a warning for every dimension beside ``by`` in which cells of one group differ."""
    found = []
    for group in grouped:
        for name in DIMENSIONS:
            values = list(dict.fromkeys(cell.run[name] for cell in (group.baseline, *group.others)))
            if name != by and len(values) > 1:
                found.append(f"{name} differs too between cells compared by {by}: {', '.join(values)}")
    return found


def _apart_from(cell: Cell, by: str) -> tuple[str, ...]:
    """Everything of a cell but ``by``. Across backends, formats are matched by bits per weight and options by none.

    Formats of one width differ in what their scales take, so whole bits count: nf4 (4.25), q4f16_1 (4.5) and q4_k_m
    (4.9) stand together.
    """
    run = cell.run
    if by == "backend":
        bits = run["bits_per_weight"]
        return run["model"], run["device"], run["quantisation"] if bits is None else f"{int(bits + _VECTORS)} bits"
    options = {name: value for name, value in option_values(cell).items() if name != by}
    return (*(str(run[name]) for name in DIMENSIONS if name != by), json.dumps(options, sort_keys=True))
