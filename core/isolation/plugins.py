"""The plugins of other interpreters, as sources that the registry loads like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..errors import DecodebenchError, PluginError
from ..host.registry import Registry
from ..host.sources import PluginSource
from .assignments import interpreters

if TYPE_CHECKING:
    from .remote_backend import Description


def all_plugins() -> Registry:
    """Return everything that plugins provide, those of other interpreters included."""
    return Registry(remote=remote_plugins)


def remote_plugins() -> Iterator[PluginSource]:
    """Yield a plugin for every backend that the user has put into an interpreter of its own.

    One whose interpreter cannot be asked is a plugin that fails to load, with the reason.
    """
    for backend, python in interpreters().items():
        from .remote_backend import describe

        try:
            yield _source(python, describe(python, backend))
        except DecodebenchError as error:
            yield PluginSource(backend, f"{backend} in {python}", python=python, plugin=_failing(str(error)))


def backend_of(python: Path, backend: str, name: str) -> PluginSource:
    """Return a plugin for a backend of another interpreter that is called ``name`` here.

    Raises:
        DecodebenchError: the interpreter cannot be asked, or has no such backend.
    """
    from .remote_backend import describe

    return _source(python, describe(python, backend), name)


def _source(python: Path, description: Description, name: str | None = None) -> PluginSource:
    from .interpreter import interpreter_at
    from .remote_backend import RemotePlugin

    plugin = description["plugin"]
    return PluginSource(
        plugin["name"],
        f"{plugin['module']} in {python}",
        plugin["distribution"],
        plugin["version"],
        python=python,
        plugin=lambda: RemotePlugin(python, description, name),
        revision=lambda: interpreter_at(python).ask("revision", distribution=plugin["distribution"]),
    )


def _failing(reason: str) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise PluginError(reason)

    return fail
