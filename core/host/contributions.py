"""What each hook may return: its type, that it is complete, and how it gets another name when its own is taken."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from importlib import import_module
from typing import Any

from ..errors import PluginError

# hook -> (module, class, whether plugins return sub-classes of it); imported when the hook is met
_TYPES = {
    "decodebench_backends": ("backend", "Backend", True),
    "decodebench_models": ("model_source", "ModelSource", False),
    "decodebench_tasks": ("task", "Task", True),
    "decodebench_figures": ("figure", "Figure", False),
    "decodebench_log_parsers": ("log_parser", "LogParser", True),
    "decodebench_exporters": ("exporter", "Exporter", False),
    "decodebench_sweeps": ("sweep", "Sweep", False),
    "decodebench_findings": ("finding", "FindingCheck", False),
    "decodebench_analyses": ("analysis", "Analysis", False),
    "decodebench_commands": ("command", "Command", False),
    "decodebench_launchers": ("launcher", "Launcher", True),
}
_STATED = {
    "decodebench_backends": ("summary", "kind"),
    "decodebench_tasks": ("version", "summary"),
    "decodebench_launchers": ("summary",),
}
_GONE = {
    "check": "write preflight(cell), with errors and notes",
    "inert_options": "give Preflight.inert in preflight(cell)",
    "why_inexact": "give Preflight.inexact in preflight(cell)",
}
"""Methods of a backend that earlier versions of the plugin API had: nobody would call them."""
_NAMING = ("companion_option", "threads_option", "score_options", "block_size_option", "block_size_choosers")
"""What a backend states of its options by their names: one, several or None."""
_NAME = re.compile(r"[A-Za-z0-9][\w.+:-]*", re.ASCII)


def type_of(hook: str) -> type:
    """Return the class that ``hook`` asks for: of its sub-classes or of its instances."""
    module, name, _ = _TYPES[hook]
    found: type = getattr(import_module(f"..contract.{module}", __package__), name)
    return found


def noun(hook: str) -> str:
    """Return what a hook provides, in the singular: ``"backend"``."""
    words = hook.removeprefix("decodebench_").replace("_", " ")
    return "analysis" if words == "analyses" else words.removesuffix("s")


def name_of(item: Any) -> str:  # noqa: ANN401 - whatever a hook returned
    """Return the name by which users call what a hook returned."""
    return str(item.id if hasattr(item, "id") else item.name)


def renamed(item: Any, name: str) -> Any:  # noqa: ANN401 - whatever a hook returned
    """Return the same thing under another name; itself where it has that name."""
    if name_of(item) == name:
        return item
    if isinstance(item, type):
        return type(item.__name__, (item,), {"name": name, "__module__": item.__module__, "__doc__": item.__doc__})
    return dataclasses.replace(item, **{"id" if hasattr(item, "id") else "name": name})


def check(hook: str, item: Any) -> None:  # noqa: ANN401 - whatever a hook returned
    """Refuse what the host could not use, before a command stumbles over it.

    Raises:
        PluginError: it is of another type than the hook asks for, abstract, or lacks what it must state.
    """
    expected, (_, class_name, is_class) = type_of(hook), _TYPES[hook]
    if is_class and not (isinstance(item, type) and issubclass(item, expected)):
        raise PluginError(f"{hook} returned {item!r}, which is not a subclass of {class_name}", code="contract-broken")
    if not is_class and not isinstance(item, expected):
        raise PluginError(f"{hook} returned {item!r}, which is not of class {class_name}", code="contract-broken")
    if inspect.isabstract(item):
        missing = ", ".join(sorted(item.__abstractmethods__))
        raise PluginError(f"{item.__name__} does not implement {missing}", code="contract-broken")
    for attribute in (*(("name",) if is_class else ()), *_STATED.get(hook, ())):
        if not isinstance(getattr(item, attribute, None), str):
            raise PluginError(f"{item.__name__} does not state {attribute!r}", code="contract-broken")
    if not _NAME.fullmatch(name_of(item)):
        raise PluginError(
            f"{noun(hook)} name {name_of(item)!r} may have letters, digits and any of . _ + : -", code="contract-broken"
        )
    if hook == "decodebench_backends":
        _check_backend(item)


def _check_backend(backend: Any) -> None:  # noqa: ANN401 - a backend class of a plugin
    from ..contract.look import fault_of
    from ..contract.model import Quantisation

    _check_options(backend)
    if fault := fault_of(backend.colour, backend.marker):
        raise PluginError(f"{backend.__name__}: {fault}", code="contract-broken")
    formats = list(backend.quantisations())
    if not formats or not all(isinstance(entry, Quantisation) for entry in formats):
        raise PluginError(
            f"{backend.__name__}.quantisations() must return at least one Quantisation, returned {formats!r}",
            code="contract-broken",
        )
    for entry in formats:
        bits = entry.bits_per_weight
        if bits is not None and not (math.isfinite(bits) and bits > 0):
            raise PluginError(
                f"{backend.__name__}: quantisation {entry.name!r} has {entry.bits_per_weight} bits",
                code="contract-broken",
            )


def _check_options(backend: Any) -> None:  # noqa: ANN401 - a backend class of a plugin
    from ..contract.options import BackendOptions

    for name, instead in _GONE.items():
        if isinstance(inspect.getattr_static(backend, name, None), classmethod):
            raise PluginError(
                f"{backend.__name__}.{name} is of an earlier plugin API: {instead}", code="contract-broken"
            )
    options = backend.Options
    if not (isinstance(options, type) and issubclass(options, BackendOptions)):
        raise PluginError(f"{backend.__name__}.Options is not a subclass of BackendOptions", code="contract-broken")
    for attribute in _NAMING:
        stated = getattr(backend, attribute)
        for name in (stated,) if isinstance(stated, str) else stated or ():
            if name not in options.model_fields:
                raise PluginError(f"{backend.__name__}.{attribute} names no option: {name!r}", code="contract-broken")
