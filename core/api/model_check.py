"""What each backend makes of a model, read from its files alone: nothing is converted, built or measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..cache import ModelCache
from ..contract.backend import Backend
from ..contract.model import Quantisation, ResolvedModel
from ..contract.preflight import PlannedCell
from ..errors import DecodebenchError, ModelError, plugin_code
from ..host.availability import availability
from ..measure.models.containers import refuse_container, refuse_damaged
from ..measure.models.formats import default_format
from ..records.workload import Workload
from ..sdk.gguf.facts import inspect_gguf, notes_on
from ..sdk.gguf.folder import folder_bytes, outline
from ..sdk.gguf.parts import find_gguf, read_parts
from ..sdk.models import model_bytes, resolve
from .plugins import installed_plugins


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one backend makes of a model.

    Attributes:
        backend: its name.
        is_installed: whether the backend can run here.
        opens: ``"as it is"``, ``"converted"`` (to a folder with safetensors in the cache), ``"with options"`` or
            ``"no"``.
        formats: weight formats that it can be asked for, the default first.
        disk_bytes: what the conversion takes in the cache; None where there is none.
        reason: why not, or what is missing.
    """

    backend: str
    is_installed: bool
    opens: str
    formats: tuple[str, ...] = ()
    disk_bytes: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """A model and what every backend makes of it.

    Attributes:
        model: its name.
        container: how it is stored.
        architecture: as its files call it.
        stored_format: weight format of a GGUF model, or of weights that a folder holds quantised.
        bits_per_weight: of a GGUF model, measured over all tensors.
        weight_bytes: bytes of its weight files.
        notes: what is special about its weights.
        backends: the verdicts.
    """

    model: str
    container: str
    architecture: str | None
    stored_format: str | None
    bits_per_weight: float | None
    weight_bytes: int
    notes: tuple[str, ...] = ()
    backends: tuple[Verdict, ...] = field(default=())

    def content(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def check_model(name: str) -> ModelCheck:
    """Ask every backend what it makes of a model.

    Raises:
        UsageError: the name is neither a named model, a path nor a Hub id.
        ModelError: there is no model there, or it is damaged.
    """
    registry = installed_plugins()
    model = resolve(name, registry.models, ModelCache(), downloads=False)
    with ExitStack() as stack:
        folder, why = _as_folder(model, stack)
        found = tuple(_verdict(backend, model, folder, why) for backend in registry.backends.values())
    file = find_gguf(model.path) if model.container == "gguf" else None
    facts = None if file is None else inspect_gguf(file)
    architecture = model.architecture
    if file is not None:
        architecture = str(read_parts(file).metadata.get("general.architecture"))
    return ModelCheck(
        model.name,
        model.container,
        architecture,
        model.stored_format,
        facts.bits_per_weight if facts else None,
        model_bytes(model),
        notes_on(facts) if facts else model.notes,
        found,
    )


def _as_folder(model: ResolvedModel, stack: ExitStack) -> tuple[ResolvedModel | None, str]:
    """Return a GGUF model as the folder that it would become, or why it cannot become one."""
    if model.container != "gguf":
        return None, ""
    try:
        return outline(model, Path(stack.enter_context(TemporaryDirectory(prefix="decodebench-outline-")))), ""
    except ModelError as error:
        return None, str(error)


def _verdict(backend: type[Backend], model: ResolvedModel, folder: ResolvedModel | None, why: str) -> Verdict:
    available = availability(backend)
    tried = [_try(backend, each, model, folder, why) for each in _default_first(backend, model)]
    first = next((each for each in tried if each.opens != "no"), tried[0])
    return Verdict(
        backend.name,
        available.available,
        first.opens,
        tuple(each.format for each in tried if each.opens != "no"),
        _disk_bytes(model) if first.opens == "converted" else None,
        first.reason or (None if available.available else f"{available.reason}; {available.fix}"),
    )


def _default_first(backend: type[Backend], model: ResolvedModel) -> Sequence[Quantisation]:
    default = default_format(backend, model)
    return [default, *(each for each in backend.quantisations() if each.name != default.name)]


@dataclass(frozen=True, slots=True)
class _Tried:
    format: str
    opens: str
    reason: str | None = None


def _try(
    backend: type[Backend], quantisation: Quantisation, model: ResolvedModel, folder: ResolvedModel | None, why: str
) -> _Tried:
    """Say how a backend would come by a format of the model."""
    name, read, opens = quantisation.name, model, "as it is"
    try:
        if model.container not in quantisation.reads:
            refuse_container(model, backend, quantisation)
            if model.container == "pickle":  # what it holds is known once it is read
                return _Tried(name, "converted")
            if folder is None:
                return _Tried(name, "no", why)
            read, opens = folder, "converted"
        if backend.residence != "remote":
            refuse_damaged(read, quantisation, may_be_described=True)
        cell = PlannedCell(read, name, "cpu", backend.Options(), Workload())
        with plugin_code(f"backend {backend.name!r}"):
            errors = backend.preflight(cell).errors
    except DecodebenchError as error:
        return _Tried(name, "no", str(error).replace(f"{read.path}/", f"{model.path.name}: "))
    return _Tried(name, "with options", "; ".join(errors)) if errors else _Tried(name, opens)


def _disk_bytes(model: ResolvedModel) -> int:
    if model.container == "pickle":
        return model_bytes(model)
    file = find_gguf(model.path)
    assert file is not None
    return folder_bytes(read_parts(file))
