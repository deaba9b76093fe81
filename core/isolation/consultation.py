"""Answers questions about the plugins of the environment that it runs in: the other end of ``interpreter``.

``python -m decodebench.core.isolation.consultation`` reads a JSON line per question and answers with one, until its
input ends. It imports plugins and no engine.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_origin

from ..contract import hookspecs
from ..contract.backend import Backend
from ..contract.preflight import PlannedCell
from ..errors import DecodebenchError, described
from ..host.availability import availability
from ..host.packed_models import ModelJob
from ..host.provenance import packages, revision
from ..host.registry import Registry
from ..host.validation import validate_options
from ..records.workload import Workload

_Content = Mapping[str, Any]


def main() -> None:
    """Answer until nobody asks any more."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)  # what a plugin prints must not stand among the answers
        for line in sys.stdin:
            pipe.write(json.dumps(_answer(json.loads(line))) + "\n")
            pipe.flush()


def _answer(content: _Content) -> dict[str, Any]:
    try:
        return {"type": "answer", "answer": _ANSWERS[content["ask"]](content)}
    except DecodebenchError as error:
        return {"type": "error", "kind": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - the plugin boundary
        return {"type": "error", "kind": "PluginError", "text": described(error)}


@cache
def _registry() -> Registry:
    """Return the plugins that were installed here, the host's own left out, which cost time."""
    owned = [(point.dist.name, point.name) for point in entry_points(group=hookspecs.PROJECT) if point.dist]
    others = [f"{owner}:{name}" for owner, name in owned if owner != hookspecs.PROJECT]
    return Registry(only=others, files=[])


@cache
def _whole_registry() -> Registry:
    return Registry(only=[point.name for point in entry_points(group=hookspecs.PROJECT)], files=[])


def _registry_with(backend: str) -> Registry:
    return _registry() if backend in _registry().backends else _whole_registry()


def _backend(content: _Content) -> type[Backend]:
    name = content["backend"]
    return _registry_with(name).backend(name)


def _plugins(_: _Content) -> list[dict[str, Any]]:
    return [plugin.model_dump(mode="json") for plugin in _registry().plugins]


def _describe(content: _Content) -> dict[str, Any]:
    backend = _backend(content)
    plugin = _registry_with(backend.name).provider("decodebench_backends", backend.name)
    return {
        "plugin": plugin.model_dump(mode="json"),
        "python": platform.python_version(),
        "packages": packages(),
        "states": {name: _plain(getattr(backend, name)) for name in _STATED},
        "options": [
            {
                "name": name,
                "description": field.description,
                "is_list": get_origin(field.annotation) in (list, tuple),
                "default": default,
            }
            for (name, field), default in zip(
                backend.Options.model_fields.items(), backend.Options().model_dump(mode="json").values(), strict=True
            )
        ],
        "quantisations": [asdict(entry) for entry in backend.quantisations()],
        "availability": asdict(availability(backend)),
        "sources": sorted({str(file) for kind in (backend, backend.Options) if (file := inspect.getsourcefile(kind))}),
        "search_path": [path for path in sys.path if path],
    }


_STATED = (
    "name",
    "summary",
    "kind",
    "supports",
    "max_batch_size",
    "first_step_is_prefill",
    "is_reference",
    "companion_option",
    "threads_option",
    "score_options",
    "block_size_option",
    "block_size_choosers",
    "residence",
    "colour",
    "marker",
)


def _plain(value: Any) -> Any:  # noqa: ANN401 - class variables of a backend
    return sorted(value) if isinstance(value, frozenset) else value


def _options(content: _Content) -> dict[str, Any]:
    dumped: dict[str, Any] = validate_options(_backend(content), content["options"]).model_dump(mode="json")
    return dumped


def _preflight(content: _Content) -> dict[str, Any]:
    backend = _backend(content)
    model = ModelJob.model_validate(content["model"]).unpack()
    options = validate_options(backend, content["options"])
    workload = Workload.model_validate(content["workload"])
    found = backend.preflight(PlannedCell(model, content["quantisation"], content["device"], options, workload))
    return {**asdict(replace(found, inert={})), "inert": dict(found.inert)}


def _revision(content: _Content) -> str | None:
    return revision(content["distribution"], None)


_ANSWERS: Mapping[str, Callable[[_Content], Any]] = {
    "plugins": _plugins,
    "describe": _describe,
    "options": _options,
    "preflight": _preflight,
    "revision": _revision,
}

if __name__ == "__main__":
    main()
