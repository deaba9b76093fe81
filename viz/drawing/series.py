"""Which rows of a figure belong together, what they are called and in which colour they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...core.contract.figure import Axes, Row
from ...core.errors import UsageError
from ...core.records.cell_names import FURTHER, CellTraits, name_cells, weight_format
from ...core.records.metrics import METRICS, SPEEDS, Metric
from . import style
from .labels import folded

_AS_TEXT = ("options", "conditions", "sampling")
CELL_COLUMNS = ", ".join(
    [
        "r.backend, r.quantisation, r.cell_id, r.model, r.device, r.hostname, r.changed_options",
        *(f"CAST(r.{name} AS VARCHAR) AS {name}" for name in _AS_TEXT),
        *(f"r.{name}" for name in FURTHER),
        "array_to_string(CAST(r.environment->'gpu' AS VARCHAR[]), ', ') AS gpu, r.cpu_model",
        *(f"r.environment->>'{name}' AS {name}" for name in ("gpu_driver", "git_commit")),
    ]
)
"""What every figure's query selects from ``runs r``, so that ``cells`` can tell the rows apart."""

SPEED_COLUMNS = ", ".join(f"m.{name}" for name in SPEEDS)
"""What a query of speeds selects from ``run_metrics m``; ``speed_of`` says which of them is drawn."""

_AXES = {"decode_tokens_per_s": "decode throughput", "e2e_tokens_per_s": "end-to-end throughput"}
_NOTES = {
    "decode_tokens_per_s": "First step left out.",
    "e2e_tokens_per_s": "Prefill included: no log tells the time of decoding alone.",
}
_FARTHEST = 0.6  # share of the way to black that variants of one backend may go
_HATCHES = ("", "..", "xx")
GAP = 0.7  # between quantisations, in widths of a bar


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn.

    Attributes:
        colour: as ``#rrggbb``, on white.
        marker: in matplotlib's words.
        hatch: of its bars, likewise; empty for none.
        on_dark: the colour on the dark ground of a page.
    """

    colour: str
    marker: str
    hatch: str = ""
    on_dark: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """The rows of one cell of the matrix.

    Attributes:
        name: what tells it from all other cells.
        series: legend entry: the backend, and what else differs but the quantisation.
        group: what stands together on the axis: the quantisation.
    """

    cell_id: str
    name: str
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
    traits = {cell_id: CellTraits.of(part[0] | {"cell_id": cell_id}) for cell_id, part in parts.items()}
    names = name_cells(list(traits.values()))
    found = [
        Cell(
            cell_id,
            names[cell_id].label,
            part[0]["backend"],
            names[cell_id].series,
            weight_format(part[0]["quantisation"], traits[cell_id].options),
            part[0].get("bits_per_weight"),
            tuple(part),
        )
        for cell_id, part in parts.items()
    ]
    most = {name: max(c.bits or 0.0 for c in found if c.group == name) for name in {c.group for c in found}}
    return sorted(found, key=lambda c: (-most[c.group], c.group, c.series, c.cell_id))


def looks(found: Iterable[Cell]) -> dict[str, Look]:
    """Return the look of each series: the backend's colour and marker, variants of one backend in further shades.

    A backend looks the same in every figure of every experiment; of two that share a colour the later one by name has
    its bars hatched.
    """
    by_backend: dict[str, set[str]] = {}
    for cell in found:
        by_backend.setdefault(cell.backend, set()).add(cell.series)
    made = {}
    seen: list[str] = []
    for backend in sorted(by_backend):
        colour, marker = style.look_of(backend)
        hatch = _HATCHES[min(seen.count(colour), len(_HATCHES) - 1)]
        seen.append(colour)
        variants = sorted(by_backend[backend])
        step = min(0.2, _FARTHEST / max(1, len(variants) - 1))
        for at, series in enumerate(variants):
            on_dark = style.visible(style.shade(colour, at * step, style.DARK), style.DARK)
            made[series] = Look(style.shade(colour, at * step), marker, hatch, on_dark)
    return made


def speed_of(found: Sequence[Cell]) -> Metric:
    """Return the speed that a figure shows: of decoding, or end to end where no cell's log tells the former.

    Raises:
        UsageError: no cell has either.
    """
    for name in SPEEDS:
        if any(cell.column(name) for cell in found):
            return METRICS[name]
    raise UsageError(f"no log has tokens and their time: {name_few(cell.name for cell in found)}", code="data-missing")


def speed_label(speed: Metric) -> str:
    """Return the words on the axis of a speed."""
    return f"{_AXES[speed.name]} ({speed.unit})"


def speed_note(speed: Metric) -> str:
    """Say what the speed leaves out, or why it is not the usual one."""
    return _NOTES[speed.name]


def name_few(names: Iterable[str], most: int = 3) -> str:
    """Join names, the first few where there are many."""
    told = list(dict.fromkeys(names))
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more


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
    needed = sum(max(map(len, label.split("\n"))) + 2 for label in labels.values())
    names = folded(labels.values(), style.room(ax, 90))
    ax.set_xticks(middles, names, fontsize=style.MEDIUM if needed < style.room(ax, 90) else style.SMALL)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(min(places) - 0.8, max(places) + 0.8)


def means_note(counts: Iterable[int]) -> str:
    """Say what a mark and its whisker are, which prompts the interval speaks of, and what n counts."""
    known = list(counts)
    if set(known) <= {1}:
        return f"one round each, which supports no interval ({rounds_note(known)})"
    few = " (very wide with two rounds)" if 2 in known else ""
    return f"geometric mean over rounds; whisker: its 95 % t interval for these prompts{few}; {rounds_note(known)}"


def rounds_note(counts: Iterable[int]) -> str:
    """Return ``n = 3 rounds``, or the range where cells differ."""
    known = sorted(set(counts))
    if not known:
        return "n = 0 rounds"
    span = f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return f"n = {span} round{'' if known == [1] else 's'}"
