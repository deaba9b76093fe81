"""Backends that live in another interpreter: the host sees a class made from their description and asks them the rest.

A description is kept in the user's cache as long as nothing changes in the other environment, so that listing backends
starts no process there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from pydantic import Field, create_model, model_validator

from ..cache import default_root
from ..contract.backend import Backend
from ..contract.generation import Request
from ..contract.hookspecs import API_VERSION, hookimpl
from ..contract.model import PreparedModel, Quantisation
from ..contract.options import BackendOptions
from ..contract.preflight import PlannedCell, Preflight
from ..contract.requirements import Availability
from ..errors import DecodebenchError, PluginError
from ..files import write_whole
from ..host.packed_models import ModelJob
from .interpreter import Interpreter, interpreter_at

Description = Mapping[str, Any]


class RemoteOptions(BackendOptions):
    """Options of a backend elsewhere: named and described here, validated there."""

    interpreter: ClassVar[Interpreter]
    backend: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _ask(cls, values: Any) -> Any:  # noqa: ANN401 - JSON
        """Raises ``UsageError`` in the backend's own words."""
        return cls.interpreter.ask("options", backend=cls.backend, options=values) if values else values


class RemoteBackend(Backend[BackendOptions]):
    """Stands in the host for a backend of another interpreter; workers load the real one."""

    interpreter: ClassVar[Interpreter]
    real_name: ClassVar[str]
    """Its name where it lives; here it may have its distribution in front."""
    description: ClassVar[Description]

    @classmethod
    def probe(cls) -> Availability:
        """Return what it said when it was described."""
        return Availability(**cls.description["availability"])

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return what it said when it was described."""
        return [Quantisation(**entry) for entry in cls.description["quantisations"]]

    @classmethod
    def preflight(cls, cell: PlannedCell[BackendOptions]) -> Preflight:
        """Ask it."""
        found = cls.interpreter.ask(
            "preflight",
            backend=cls.real_name,
            model=ModelJob.of(cell.model).model_dump(mode="json"),
            quantisation=cell.quantisation,
            device=cell.device,
            options=cell.options.model_dump(mode="json"),
            workload=cell.workload.model_dump(mode="json"),
        )
        errors, notes, lacks = (tuple(found[name]) for name in ("errors", "notes", "lacks"))
        return Preflight(errors, notes, found["inert"], found["inexact"], lacks)

    def load(self, model: PreparedModel, device: str, options: BackendOptions) -> NoReturn:
        """Refuse: only a worker in its own interpreter loads it."""
        raise PluginError(f"backend {self.name!r} runs in {self.interpreter.python} only")

    def generate(self, batch: Sequence[Request]) -> NoReturn:
        """Refuse, as ``load`` does."""
        raise PluginError(f"backend {self.name!r} runs in {self.interpreter.python} only")


class RemotePlugin:
    """The plugin of another interpreter, with one of its backends.

    Args:
        python: the interpreter.
        description: of the backend.
        name: what it is called here; None: as there.
    """

    def __init__(self, python: Path, description: Description, name: str | None = None) -> None:
        self.decodebench_api = description["plugin"]["api"]
        self._backend = _made(interpreter_at(python), description)
        self._backend.name = name or self._backend.name

    @hookimpl
    def decodebench_backends(self) -> Sequence[type[Backend]]:
        """Return the class that stands for the backend."""
        return [self._backend]


def describe(python: Path, backend: str) -> Description:
    """Ask an interpreter about a backend, or the cache.

    Raises:
        DecodebenchError: the interpreter cannot answer, or has no such backend.
    """
    key = hashlib.sha256(f"{python}\0{backend}\0{API_VERSION}".encode()).hexdigest()[:16]
    file = default_root() / "descriptions" / f"{key}.json"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["state"] == _state(known["description"]):
            found: Description = known["description"]
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    description: Description = interpreter_at(python).ask("describe", backend=backend)
    try:
        write_whole(file, json.dumps({"state": _state(description), "description": description}))
    except DecodebenchError:
        pass  # a cache that cannot be written makes listings slow, not wrong
    return description


def _state(description: Description) -> list[Any]:
    """Return what changes with the other environment: its folders' times, and those of the backend's own files."""
    return [[path, _time_of(path)] for path in (*description["search_path"], *description["sources"])]


def _time_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _made(interpreter: Interpreter, description: Description) -> type[RemoteBackend]:
    states = dict(description["states"])
    for name in ("supports", "score_options", "block_size_choosers"):
        states[name] = None if states[name] is None else frozenset(states[name])
    name = states["name"]
    content = {
        **states,
        "interpreter": interpreter,
        "real_name": name,
        "description": description,
        "Options": _options(interpreter, name, description["options"]),
        "__doc__": states["summary"],
        "__module__": __name__,
    }
    return type("RemoteBackend", (RemoteBackend,), content)


def _options(interpreter: Interpreter, backend: str, described: Sequence[Mapping[str, Any]]) -> type[BackendOptions]:
    """Make a model of the same options."""
    made = create_model("Options", __base__=RemoteOptions, **dict(_fields(described)))
    made.interpreter, made.backend = interpreter, backend
    return made


def _fields(described: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for option in described:
        default = tuple(option["default"]) if option["is_list"] and option["default"] is not None else option["default"]
        annotation = tuple[Any, ...] if option["is_list"] and default is not None else Any
        yield option["name"], (annotation, Field(default, description=option["description"]))
