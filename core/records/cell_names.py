"""What cells are called: one function, so that a cell has the same name in a run's progress, in tables and figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from pydantic import JsonValue

from .schema import Run
from .workload import Workload

DIMENSIONS = ("backend", "model", "quantisation", "device")
TEMPLATE = "template."
"""Before the name of an argument of the chat template, which is recorded beside a backend's options."""

_PATHS = ("/", "./", "../", "~")
_AS_THEY_ARE, _DTYPE, _AS_THE_FILES = "none", "dtype", "auto"

Varying = Mapping[str, Collection[str]]
"""Names of options, by backend."""

FURTHER = (
    *("size", "backend_version", "task", "task_version"),
    *(name for name in Workload.settings() if name in Run.model_fields and name not in (*DIMENSIONS, "task")),
    *("seed", "bits_per_weight", "weight_bytes", "parameters", "source_format"),
)
"""Columns of ``runs`` that tell cells apart where their dimensions and options do not."""

OF_MACHINE = ("gpu", "cpu_model", "gpu_driver", "git_commit")
"""Fields of the environment that do likewise; a row may have them as columns of its own."""


@dataclass(frozen=True, slots=True)
class CellTraits:
    """What a name can say of a cell.

    Attributes:
        cell_id: its hash.
        dimensions: its value of each of ``DIMENSIONS``.
        hostname: where it ran; None where that is not known.
        options: of its backend, as text.
        changed: those that are not at their default; None where a log does not say which.
        further: labels, other settings and facts by name, as text; they tell cells apart that nothing above does.
    """

    cell_id: str
    dimensions: Mapping[str, str]
    hostname: str | None
    options: Mapping[str, str]
    changed: Collection[str] | None
    further: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> CellTraits:
        """Return what a row of ``runs`` says; JSON columns may be text, and columns may be missing."""
        return cls(
            cell_id=str(run["cell_id"]),
            dimensions={name: str(run.get(name)) for name in DIMENSIONS},
            hostname=run.get("hostname"),
            options={name: as_text(value) for name, value in _object(run.get("options")).items()},
            changed=run.get("changed_options"),
            further=_further(run),
        )


@dataclass(frozen=True, slots=True)
class CellName:
    """A cell's name among the cells that it is shown with.

    Attributes:
        label: backend, quantisation, what else differs; unique.
        series: the label without the quantisation, which then is on an axis.
        short: only what differs; unique or empty.
        options: the options in which the cell differs from another of its backend.
        told: those of them that are in the name.
    """

    label: str
    series: str
    short: str
    options: dict[str, str]
    told: tuple[str, ...]


def _object(value: Any) -> dict[str, JsonValue]:  # noqa: ANN401 - a JSON column, as text or read
    found: dict[str, JsonValue] = (json.loads(value) if isinstance(value, str) else value) or {}
    return found


def _further(run: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, Any] = {name: run.get(name) for name in FURTHER}
    found |= {name: value for name, value in _object(run.get("sampling")).items() if name != "seed"}
    found |= {name: value for name, value in _object(run.get("workload")).items() if name not in Run.model_fields}
    machine = _object(run.get("environment"))
    found |= {name: machine.get(name, run.get(name)) for name in OF_MACHINE}
    if isinstance(found["gpu"], list | tuple):
        found["gpu"] = ", ".join(found["gpu"])
    told = {**found, **_object(run.get("conditions"))}  # a label is named before what the log has
    first = dict.fromkeys((*_object(run.get("conditions")), *found))
    return {name: as_text(told[name]) for name in first if told[name] not in (None, "")}


def as_text(value: JsonValue) -> str:
    """Return an option's value as a user writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def weight_format(quantisation: str, options: Mapping[str, str]) -> str:
    """Return what a cell's weights were in: a quantisation, or the dtype that ran where they stay as they are."""
    dtype = options.get(_DTYPE, _AS_THE_FILES)
    return quantisation if quantisation != _AS_THEY_ARE or dtype == _AS_THE_FILES else dtype


def name_cells(cells: Sequence[CellTraits], *, without: Collection[str] = ()) -> dict[str, CellName]:
    """Return the name of every cell by its id.

    Args:
        cells: those that are shown together.
        without: options that an axis shows; cells that differ in nothing else share a name.
    """
    cells = _with_short_models(cells)
    if _DTYPE not in without:
        cells = [_with_format(cell) for cell in cells]
    differing = [name for name in DIMENSIONS if len({cell.dimensions[name] for cell in cells}) > 1]
    has_hosts = len({cell.hostname for cell in cells}) > 1
    varying = varying_options(cells)
    made = {cell.cell_id: _name(cell, varying, differing, has_hosts, without) for cell in cells}
    return made if without else _unique(_with_further(made, cells))


def _with_short_models(cells: Sequence[CellTraits]) -> Sequence[CellTraits]:
    """Name models on disk by their last part, as long as that tells all models apart."""
    models = {cell.dimensions["model"] for cell in cells}
    short = {model: PurePath(model).name if model.startswith(_PATHS) else model for model in models}
    if len(set(short.values())) < len(models):
        return cells
    return [replace(cell, dimensions={**cell.dimensions, "model": short[cell.dimensions["model"]]}) for cell in cells]


def _with_format(cell: CellTraits) -> CellTraits:
    """Name the dtype as the cell's format, where it is, and not among its options."""
    shown = weight_format(cell.dimensions["quantisation"], cell.options)
    if shown == cell.dimensions["quantisation"]:
        return cell
    options = {name: value for name, value in cell.options.items() if name != _DTYPE}
    return replace(cell, dimensions={**cell.dimensions, "quantisation": shown}, options=options)


def _name(
    cell: CellTraits, varying: Varying, differing: Collection[str], has_hosts: bool, without: Collection[str]
) -> CellName:
    options = {name: value for name, value in differing_options(cell, varying).items() if name not in without}
    # an option at its default is not named: it is the other cell that has it in its name
    told = tuple(name for name in options if cell.changed is None or name in cell.changed)
    host = [f"on {cell.hostname}"] if has_hosts and cell.hostname else []
    further = [*host, *(f"{name}={options[name]}" for name in told)]
    backend, quantisation = cell.dimensions["backend"], cell.dimensions["quantisation"]
    words = [cell.dimensions[name] for name in ("model", "device") if name in differing] + further
    return CellName(
        label=" ".join([backend, quantisation, *words]),
        series=" ".join([backend, *words]),
        short=" ".join([cell.dimensions[name] for name in DIMENSIONS if name in differing] + further),
        options=options,
        told=told,
    )


def varying_options(cells: Iterable[CellTraits]) -> Varying:
    """Return, by backend, the options that have more than one value; other backends have their own.

    A log that does not have an option says nothing of a difference.
    """
    values: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        for name, value in cell.options.items():
            values.setdefault((cell.dimensions["backend"], name), set()).add(value)
    varying: dict[str, set[str]] = {}
    for (backend, name), found in values.items():
        if len(found) > 1:
            varying.setdefault(backend, set()).add(name)
    return varying


def differing_options(cell: CellTraits, varying: Varying) -> dict[str, str]:
    """Return a cell's options that vary among the cells of its backend."""
    names = varying.get(cell.dimensions["backend"], frozenset())
    return {name: value for name, value in cell.options.items() if name in names}


def _with_further(made: dict[str, CellName], cells: Iterable[CellTraits]) -> dict[str, CellName]:
    """Add to names that several cells share the further facts that tell them apart, such as a label or the GPU."""
    twins: dict[str, list[CellTraits]] = {}
    for cell in cells:
        twins.setdefault(made[cell.cell_id].label, []).append(cell)
    named = dict(made)
    for alike in (group for group in twins.values() if len(group) > 1):
        facts = _telling(alike)
        for cell in alike:
            words = [f"{name}={cell.further[name]}" for name in facts if name in cell.further]
            old = made[cell.cell_id]
            label, series, short = (" ".join([text, *words]).strip() for text in (old.label, old.series, old.short))
            named[cell.cell_id] = CellName(label, series, short, old.options, old.told)
    return named


def _telling(alike: Collection[CellTraits]) -> list[str]:
    """Return the first facts that tell cells apart, each of which tells more of them apart than those before it."""
    found: list[str] = []
    kinds = 1
    for name in dict.fromkeys(name for cell in alike for name in cell.further):
        apart = len({tuple(cell.further.get(fact) for fact in (*found, name)) for cell in alike})
        if apart > kinds:
            found, kinds = [*found, name], apart
        if kinds == len(alike):
            break
    return found


def _unique(made: dict[str, CellName]) -> dict[str, CellName]:
    """Tell cells apart that differ in nothing that a name says, such as a token limit, by their ids."""
    labels = Counter(name.label for name in made.values())

    def apart(cell_id: str, name: CellName) -> CellName:
        if labels[name.label] == 1:
            return name
        label, series, short = (f"{text} #{cell_id[:8]}".strip() for text in (name.label, name.series, name.short))
        return CellName(label, series, short, name.options, name.told)

    return {cell_id: apart(cell_id, name) for cell_id, name in made.items()}
