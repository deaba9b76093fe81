"""Cells: the points of a plan's matrix, fully expanded, validated and identified by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from pydantic import JsonValue

from ..cache import ModelCache
from ..contract.backend import Backend, Capability
from ..contract.model import ResolvedModel
from ..contract.options import BackendOptions
from ..contract.preflight import PlannedCell, Preflight
from ..errors import UsageError
from ..host.registry import Registry
from ..host.validation import options_identity, validate_options
from ..isolation.remote_backend import RemoteBackend
from ..records.cell_names import DIMENSIONS, TEMPLATE, CellTraits, as_text, name_cells
from ..records.workload import Workload
from ..sdk.logs.runs import UNKNOWN
from .models.containers import Models
from .models.formats import ChosenFormat, choose_formats, default_format
from .plan import CellSpec, Plan, scores_choices
from .sweeps.axes import OWN, Axes
from .sweeps.workloads import WorkloadAxes
from .workload_checks import check_batch, check_load, idle_in_scoring


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the matrix.

    Attributes:
        id: hash over everything that can change the figures; equal cells of two runs have equal ids.
        backend: the backend's class.
        plugin: name of the entry point that provides it.
        model: the model, found on disk.
        quantisation: weight format in the backend's words.
        device: ``cpu``, ``cuda:0``, ...
        options: validated options.
        workload: what it has to do: the plan's, with one value of what is swept.
        lacks: what its backend supports otherwise.
        axes: settings of the workload that have other values in other cells of the plan.
    """

    id: str
    backend: type[Backend]
    plugin: str
    model: ResolvedModel
    quantisation: str
    device: str
    options: BackendOptions
    workload: Workload
    lacks: frozenset[Capability] = frozenset()
    axes: tuple[str, ...] = ()

    @property
    def supports(self) -> frozenset[Capability]:
        """What it can do besides generating greedily."""
        return self.backend.supports - self.lacks

    @property
    def has_depth_apart(self) -> bool:
        """Whether its depth is there before the clock starts; it is part of the timed prompt otherwise."""
        workload = self.workload
        return bool(workload.depth) and "depth" in self.supports and workload.batch_size == 1 and not workload.is_stream

    @property
    def changed(self) -> str:
        """The options that differ from their defaults, as ``name=value`` words."""
        return " ".join(f"{name}={self.expanded_options[name]}" for name in self.changed_options)

    @property
    def changed_options(self) -> tuple[str, ...]:
        """Names of the options that differ from their defaults, arguments of the chat template last."""
        return (*self.options.model_dump(mode="json", exclude_defaults=True), *self._swept)

    @property
    def expanded_options(self) -> dict[str, JsonValue]:
        """Every option with its value, as JSON, and the arguments of the chat template: they are swept alike."""
        return {**self.options.model_dump(mode="json"), **self._swept}

    @property
    def n_threads(self) -> int | None:
        """The CPU threads that the backend's option says; None where it says none, or there is no such option."""
        name = self.backend.threads_option
        return None if name is None else getattr(self.options, name)

    @property
    def _swept(self) -> dict[str, JsonValue]:
        arguments = {f"{TEMPLATE}{name}": value for name, value in self.workload.template_args.items()}
        return {**arguments, **self.workload.loads(), **{name: getattr(self.workload, name) for name in self.axes}}

    @property
    def server_key(self) -> str | None:
        """What cells have in common that one server of their own can answer; None for an engine that is elsewhere."""
        if self.backend.residence != "owned-server":
            return None
        return repr((self.backend.name, self.model.content_hash, self.quantisation, self.device, self.options))

    @property
    def traits(self) -> CellTraits:
        """What its name can say."""
        values = (self.backend.name, self.model.name, self.quantisation, self.device)
        options = {name: as_text(value) for name, value in self.expanded_options.items()}
        return CellTraits(self.id, dict(zip(DIMENSIONS, values, strict=True)), None, options, self.changed_options)


def job_fields(cell: Cell, registry: Registry) -> dict[str, Any]:
    """Return the fields of a job that say what it is about."""
    where = {"device": cell.device, "quantisation": cell.quantisation}
    name = cell.backend.real_name if issubclass(cell.backend, RemoteBackend) else cell.backend.name
    what = {"backend": name, "options": cell.options.model_dump(mode="json")}
    return {**registry.place(cell.backend.name), **what, **where, "n_threads": cell.n_threads}


def takes_default_threads(cell: Cell) -> bool:
    """Whether the cell's engine computes on the CPU and was not told with how many threads."""
    return cell.device.startswith("cpu") and cell.n_threads is None


@dataclass(frozen=True)
class Matrix:
    """All cells of a plan.

    Attributes:
        cells: in the order of the plan, without duplicates.
        notes: what was left out and why, for people.
    """

    cells: Sequence[Cell]
    notes: Sequence[str] = field(default=())

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """What each cell is called, by its id."""
        return {cell_id: name.label for cell_id, name in name_cells([cell.traits for cell in self.cells]).items()}


def workload_identity(plan: Plan, registry: Registry) -> dict[str, JsonValue]:
    """Return everything of the workload that can change the figures, as JSON; arguments of the template apart."""
    return _workload_identity(plan.workload.model_copy(update={"template_args": {}}), plan, registry)


def _workload_identity(workload: Workload, plan: Plan, registry: Registry) -> dict[str, JsonValue]:
    content = {**workload.identity(), "seed": plan.seed}
    return content | ({"task_version": registry.task(workload.task).version} if workload.task else {})


def expand(plan: Plan, registry: Registry, cache: ModelCache, *, converts: bool = True) -> Matrix:
    """Expand a plan into its cells.

    Args:
        plan: what to measure.
        registry: the plugins.
        cache: of prepared models.
        converts: turn models into containers that their backends read; else the cells can be shown, but not run.

    Raises:
        UsageError: an unknown backend, quantisation, option, model or task, or a value out of range.
        ModelError: a model cannot be found.
    """
    is_scoring = scores_choices(plan, registry)
    models, workloads = Models(registry.models, cache, converts=converts), WorkloadAxes(plan.workload, plan.axes)
    cells: dict[str, Cell] = {}
    for spec in plan.cells:
        backend = registry.backend(spec.backend)
        plugin = registry.provider("decodebench_backends", backend.name).name
        names = spec.model or plan.workload.model
        if not names:
            raise UsageError("no model: give -m MODEL, or `model` in the plan's [workload]", code="no-model")
        for cell in _cells_of(_axes(spec, backend, names, models, workloads), plan, registry, models, plugin):
            cells.setdefault(cell.id, cell)
    _check_workloads(cells.values(), is_scoring)
    lengths = _varying_lengths(cells.values())
    whole = [replace(cell, axes=lengths) if lengths else cell for cell in cells.values()]
    checked = [_checked(cell, is_scoring) for cell in whole]
    if is_scoring:
        _check_scoring((cell for cell, _ in checked), plan.workload)
    _refuse_idle_sweeps(checked)
    notes = [*cache.notices, *(idle_in_scoring(plan.workload) if is_scoring else ())]
    return Matrix([cell for cell, _ in checked], [*notes, *_notes(checked)])


def _check_workloads(cells: Iterable[Cell], is_scoring: bool) -> None:
    """Refuse what a workload asks of a backend that cannot do it; raises ``UsageError``."""
    for cell in {(cell.backend, id(cell.workload)): cell for cell in cells}.values():
        check_batch(cell.backend, cell.workload)
        if not is_scoring:
            check_load(cell.backend, cell.workload)


def _varying_lengths(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the settings of the workload that several values of make cells, where they have several here."""
    workloads = list({id(cell.workload): cell.workload for cell in cells}.values())
    axes = (name for name, setting in Workload.settings().items() if setting.is_axis)
    return tuple(name for name in axes if len({getattr(workload, name) for workload in workloads}) > 1)


def _check_scoring(cells: Iterable[Cell], workload: Workload) -> None:
    """Refuse backends that cannot score.

    Raises:
        UsageError: names the backend and what to do.
    """
    for cell in cells:
        if "score" not in cell.supports:
            raise UsageError(
                f"task {workload.task!r} compares the log-probabilities of choices, which backend "
                f"{cell.backend.name!r} does not provide; use another backend, or a task whose answers are generated",
                code="not-supported",
            )


_ONLY_SCORED = "where choices are scored: nothing is generated, and scoring does not read it"


def _checked(cell: Cell, is_scoring: bool) -> tuple[Cell, Preflight]:
    found = preflight(cell, is_scoring)
    return replace(cell, lacks=frozenset(found.lacks)) if found.lacks else cell, found


def preflight(cell: Cell, is_scoring: bool) -> Preflight:
    """Let a backend look at one of its cells; in scoring, what only ``generate`` depends on has no effect.

    Raises:
        UsageError: the backend refuses the cell.
    """
    backend = cell.backend
    if cell.model.container == "pickle":  # not converted: what it holds is known once it is
        return Preflight()
    found = backend.preflight(PlannedCell(cell.model, cell.quantisation, cell.device, cell.options, cell.workload))
    if found.errors:
        raise UsageError("\n".join(f"{backend.name}: {error}" for error in found.errors), code="not-supported")
    if not is_scoring or backend.score_options is None:
        return found
    idle = (name for name in backend.Options.model_fields if name not in backend.score_options)
    return replace(found, inert=dict.fromkeys(idle, _ONLY_SCORED))


def _refuse_idle_sweeps(checked: Sequence[tuple[Cell, Preflight]]) -> None:
    """Refuse two cells that differ in nothing but options that have no effect in either."""
    if not any(found.inert for _, found in checked):
        return
    seen: dict[str, Cell] = {}
    for cell, found in checked:
        inert = found.inert
        effective = {name: value for name, value in cell.expanded_options.items() if name not in inert}
        key = repr((cell.backend.name, cell.model.name, cell.quantisation, cell.device, sorted(effective.items())))
        twin = seen.setdefault(key, cell)
        idle = [name for name in inert if getattr(cell.options, name) != getattr(twin.options, name)]
        if idle:
            values = " and ".join(repr(getattr(one.options, idle[0])) for one in (twin, cell))
            raise UsageError(
                f"{cell.backend.name}: {idle[0]} has no effect {inert[idle[0]]}, so {values} are the same experiment",
                code="same-cells",
            )


def _notes(checked: Iterable[tuple[Cell, Preflight]]) -> list[str]:
    """Return what the backends have to say of their cells, each sentence once."""
    notes = (
        f"{cell.backend.name}: {note}"
        for cell, found in checked
        for note in (*_inert_notes(cell, found.inert), *_depth_notes(cell), *found.notes)
    )
    return list(dict.fromkeys(notes))


def _depth_notes(cell: Cell) -> Iterator[str]:
    """Say where a depth is part of the timed prompt."""
    if cell.workload.depth and not cell.has_depth_apart:
        why = "of several requests at once" if "depth" in cell.supports else "for this backend"
        yield f"depth = {cell.workload.depth} is part of the timed prompt {why}: times to the first token include it"


def _inert_notes(cell: Cell, inert: Mapping[str, str]) -> Iterator[str]:
    for name, why in inert.items():
        if name in cell.changed_options:
            yield f"{name} = {getattr(cell.options, name)!r} has no effect {why}"


def _axes(
    spec: CellSpec, backend: type[Backend], names: Sequence[str], models: Models, workloads: WorkloadAxes
) -> Axes:
    is_elsewhere = backend.residence == "remote" and "device" not in spec.model_fields_set
    own: dict[str, Sequence[str | None]] = {
        "model": names,
        "quantisation": spec.quantisation or [None],
        "device": [UNKNOWN] if is_elsewhere else spec.device,
    }
    return Axes(spec, backend, own, lambda name: default_format(backend, models.find(name)).name, workloads)


def _cells_of(axes: Axes, plan: Plan, registry: Registry, models: Models, plugin: str) -> Iterator[Cell]:
    backend, known, is_of_workload = axes.backend, dict[str, BackendOptions](), cache(axes.is_of_workload)
    identities: dict[int, str] = {}

    @cache
    def format_of(name: str, asked: str | None) -> ChosenFormat:
        return choose_formats(backend, models.find(name), None if asked is None else [asked])[0]

    for point in axes.points():
        model, device = models.find(str(point["model"])), str(point["device"])
        asked = point["quantisation"]
        chosen = format_of(str(point["model"]), None if asked is None else str(asked))
        given = {name: value for name, value in point.items() if name not in OWN and not is_of_workload(name)}
        whole = chosen.with_options(backend, given)
        key = repr(whole)
        options = known[key] = known[key] if key in known else validate_options(backend, whole)
        paired = models.readable(models.with_companion(backend, model, options), backend, chosen.quantisation)
        quantisation = chosen.quantisation.name
        workload = axes.workloads.at({name: value for name, value in point.items() if is_of_workload(name)})
        if id(workload) not in identities:
            identities[id(workload)] = _as_json(_workload_identity(workload, plan, registry))
        identity = {
            "model": model.content_hash,
            "companions": {name: other.content_hash for name, other in paired.companions.items()},
            "backend": backend.name,
            "options": options_identity(options),
            "quantisation": quantisation,
            "device": device,
        }
        yield Cell(
            _digest(identity, identities[id(workload)]),
            backend,
            plugin,
            paired,
            quantisation,
            device,
            options,
            workload,
        )


_as_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def _digest(identity: Mapping[str, Any], workload: str) -> str:
    """Return the id of a cell; ``workload`` is JSON already, as it is the same in most, and the last of the keys."""
    return hashlib.sha256(f'{_as_json(identity)[:-1]},"workload":{workload}}}'.encode()).hexdigest()[:16]
