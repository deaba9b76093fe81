"""Which rows of a figure belong together, what they are called and in which colour they are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.figure import Row
from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_COLUMNS = (
    "r.backend, r.quantisation, r.bits_per_weight, r.cell_id, r.model, r.device, "
    "CAST(r.options AS VARCHAR) AS options, r.changed_options"
)
"""What every figure's query selects from ``runs r``, so that ``cells`` can tell the rows apart."""

GAP = 0.7  # between quantisations, in widths of a bar


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn."""

    colour: str
    marker: str


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one cell of the matrix.

    Attributes:
        series: legend entry: the backend, and what else differs where a backend has several cells per quantisation.
        group: what stands together on the axis: the quantisation.
    """

    cell_id: str
    backend: str
    series: str
    group: str
    bits: float | None
    rows: tuple[Row, ...]

    def column(self, name: str) -> list[float]:
        """Return a column's values, those that the log could not tell left out."""
        return [float(row[name]) for row in self.rows if row.get(name) is not None]


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Split rows by cell, in the order of quantisation (most bits first), then series."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(str(row.get("cell_id") or f"{row['backend']}/{row['quantisation']}"), []).append(row)
    names = _series_names({cell_id: part[0] for cell_id, part in parts.items()})
    found = [
        Cell(
            cell_id,
            part[0]["backend"],
            names[cell_id],
            part[0]["quantisation"],
            part[0].get("bits_per_weight"),
            tuple(part),
        )
        for cell_id, part in parts.items()
    ]
    most = {name: max(c.bits or 0.0 for c in found if c.group == name) for name in {c.group for c in found}}
    return sorted(found, key=lambda c: (-most[c.group], c.group, c.series, c.cell_id))


def looks(found: Iterable[Cell]) -> dict[str, Look]:
    """Return the look of each series: the backend's colour and marker, variants of one backend in lighter shades.

    Where ``plot`` noted the backends of the whole store in the rows, they decide the colours, so that a backend looks
    the same in every figure of that store.
    """
    by_backend: dict[str, list[str]] = {}
    stored: set[str] = set()
    for cell in found:
        by_backend.setdefault(cell.backend, []).append(cell.series)
        stored.update(cell.rows[0].get("backends") or ())
    slots = style.slots(stored | by_backend.keys())
    return {
        series: Look(style.shade(style.PALETTE[slots[backend]], step), style.MARKERS[slots[backend]])
        for backend, names in by_backend.items()
        for step, series in enumerate(sorted(set(names)))
    }


def group_labels(found: Sequence[Cell]) -> dict[str, str]:
    """Return each quantisation's tick label: its name and, below, the measured bits per weight of its cells."""
    labels = {}
    for cell in found:
        bits = sorted({round(c.bits, 1) for c in found if c.group == cell.group and c.bits is not None})
        span = f"{bits[0]:g}" if len(bits) == 1 else f"{bits[0]:g}–{bits[-1]:g}" if bits else ""
        labels[cell.group] = f"{cell.group}\n{span} bits" if span else cell.group
    return labels


def positions(found: Sequence[Cell]) -> list[float]:
    """Return the place of each cell's mark: side by side within a quantisation, a gap between quantisations."""
    places: list[float] = []
    for i, cell in enumerate(found):
        step = 1.0 + (GAP if i and cell.group != found[i - 1].group else 0.0)
        places.append(places[-1] + step if places else 0.0)
    return places


def group_ticks(ax: Axes, found: Sequence[Cell], places: Sequence[float]) -> None:
    """Put each quantisation's label below the middle of its marks."""
    labels = group_labels(found)
    middles = []
    for group in labels:
        own = [x for cell, x in zip(found, places, strict=True) if cell.group == group]
        middles.append(sum(own) / len(own))
    ax.set_xticks(middles, list(labels.values()))
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(min(places) - 0.8, max(places) + 0.8)


def rounds_note(counts: Iterable[int]) -> str:
    """Return ``n = 3 rounds``, or the range where cells differ."""
    known = sorted(set(counts))
    if not known:
        return "n = 0 rounds"
    span = f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return f"n = {span} round{'' if known == [1] else 's'}"


def _series_names(heads: Mapping[str, Row]) -> dict[str, str]:
    """Name the series of each cell; the backend alone where that is unique within each quantisation."""
    names = {}
    for cell_id, head in heads.items():
        siblings = [h for h in heads.values() if h["backend"] == head["backend"]]
        keys = [key for key in ("model", "device") if len({h.get(key) for h in siblings}) > 1]
        parts = [str(head.get(key)) for key in keys]
        options = [_options(h.get("options")) for h in siblings]
        own = _options(head.get("options"))
        changed = head.get("changed_options")
        for key in sorted({key for each in options for key in each}):
            if changed is not None and key not in changed:
                continue  # at its default: the other cell has it in its name
            if len({json.dumps(each.get(key), sort_keys=True) for each in options}) > 1:
                parts.append(f"{key}={own.get(key)}")
        names[cell_id] = " ".join([head["backend"], *parts])
    return _unique(names, heads)


def _unique(names: dict[str, str], heads: Mapping[str, Row]) -> dict[str, str]:
    """Tell cells apart that neither options nor device distinguish (other prompts, other limits) by their id."""
    seen: dict[tuple[str, str], int] = {}
    for cell_id, name in names.items():
        key = (name, heads[cell_id]["quantisation"])
        seen[key] = seen.get(key, 0) + 1
    return {
        cell_id: f"{name} ({cell_id[:6]})" if seen[(name, heads[cell_id]["quantisation"])] > 1 else name
        for cell_id, name in names.items()
    }


def _options(value: object) -> dict[str, Any]:
    """Read the options column, which holds a JSON object."""
    loaded = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    return dict(loaded) if isinstance(loaded, Mapping) else {}
