"""What rows of a comparison are called, and which of them differ in one dimension only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import unknown_name
from ...core.records.cell_names import (
    DIMENSIONS,
    CellTraits,
    as_text,
    differing_options,
    name_cells,
    varying_options,
    weight_format,
)
from .observations import Cell
from .result import CellLabel

_VECTORS = 0.05  # bits by which measured formats fall short of their width, rounding included


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that are compared with one another, and which of them is the baseline."""

    baseline: Cell
    others: list[Cell]


def option_values(cell: Cell) -> dict[str, str]:
    """Return a cell's options as text."""
    return {name: as_text(value) for name, value in cell.run["options"].items()}


def labels(cells: Sequence[Cell]) -> dict[str, CellLabel]:
    """Return the label of every cell by its id."""
    names = name_cells([CellTraits.of(cell.run) for cell in cells])
    return {
        cell.cell_id: CellLabel(
            cell_id=cell.cell_id,
            label=names[cell.cell_id].label,
            options=names[cell.cell_id].options,
            told=names[cell.cell_id].told,
            weight_format=weight_format(cell.run["quantisation"], option_values(cell)),
            bits_per_weight=cell.run["bits_per_weight"],
            **{name: cell.run[name] for name in DIMENSIONS},
        )
        for cell in cells
    }


def whole_bits(cell: Cell) -> int | None:
    """Return the bits of a weight without what its scales take, 8 of q8_0 and of int8; None where not measured."""
    bits = cell.run["bits_per_weight"]
    return None if bits is None else int(bits + _VECTORS)


def infer_by(cells: Sequence[Cell]) -> str:
    """Return the first dimension in which cells differ, an option's name where only options do."""
    for name in DIMENSIONS:
        if len({cell.run[name] for cell in cells}) > 1:
            return name
    facts = [CellTraits.of(cell.run) for cell in cells]
    varying = varying_options(facts)
    return next((name for each in facts for name in differing_options(each, varying)), "cell")


def value_of(cell: Cell, by: str) -> str | None:
    """Return a cell's value of a dimension, an option or another condition; None where it has no such."""
    if by in DIMENSIONS:
        return str(cell.run[by])
    if by in cell.run["options"]:
        return option_values(cell)[by]
    return as_text(cell.run["conditions"][by]) if by in cell.run["conditions"] else None


def check_by(cells: Sequence[Cell], by: str) -> None:
    """Raise ``UsageError`` where ``by`` is neither a dimension, nor an option or condition of any cell."""
    known = {*DIMENSIONS, *(name for cell in cells for name in (*cell.run["options"], *cell.run["conditions"]))}
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
    for cell in cells:
        if wanted == weight_format(cell.run["quantisation"], option_values(cell)):
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
        bits = whole_bits(cell)
        return run["model"], run["device"], run["quantisation"] if bits is None else f"{bits} bits"
    options = {name: value for name, value in option_values(cell).items() if name != by}
    return (*(str(run[name]) for name in DIMENSIONS if name != by), json.dumps(options, sort_keys=True))
