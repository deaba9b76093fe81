"""A named model that a plugin provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A named model that a plugin provides.

    Attributes:
        name: what users type, ``family:member``, e.g. ``"tiny:target"``.
        summary: one line: architecture, parameters, what it is for.
        path: folder of a shipped model; None when it is built on demand.
        build: fills the empty folder it is given, byte for byte the same each time; used when ``path`` is None.
        version: raised when ``build`` would write something else; part of the cache key.
        companions: names of models that belong to it, by the backend that uses them.
        stand_ins: names of models that take its place where no model is named, by the backend that cannot run it.
        task: name of the task that is measured where the user names no workload.
    """

    name: str
    summary: str
    path: Path | None = None
    build: Callable[[Path], None] | None = None
    version: str = "1"
    companions: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
