"""Which modules the import of a plugin brings that belong neither to Python, nor to the host, nor to the plugin."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from ..contract import hookspecs
from ..host.sources import PluginSource, module_name


class Imports:
    """Modules loaded since this object was made.

    Args:
        plugin: where the plugin comes from.
    """

    def __init__(self, plugin: PluginSource) -> None:
        self.plugin = plugin
        self._before = set(sys.modules)

    def foreign(self) -> dict[str, str]:
        """Return the foreign top-level modules by name, each with the distribution that provides it."""
        new = {name.partition(".")[0] for name in set(sys.modules) - self._before}
        owners = packages_distributions()
        found = {}
        for name in sorted(new - sys.stdlib_module_names - {hookspecs.PROJECT, self._own}):
            distributions = {_normalised(owner) for owner in owners.get(name, ())}
            if not distributions & self._allowed and not (not distributions and self._is_beside(name)):
                found[name] = ", ".join(sorted(distributions)) or "no distribution"
        return found

    @property
    def _own(self) -> str:
        return (
            module_name(self.plugin.file)
            if self.plugin.file
            else self.plugin.module.partition(":")[0].partition(".")[0]
        )

    @cached_property
    def _allowed(self) -> set[str]:
        """The host's own dependencies, and theirs, and the plugin's own distribution."""
        own = {_normalised(self.plugin.distribution)} if self.plugin.distribution else set()
        return set(_closure(hookspecs.PROJECT)) | own

    def _is_beside(self, name: str) -> bool:
        """Whether a module that no distribution claims lies in the plugin's own folder, or is built in."""
        file = getattr(sys.modules.get(name), "__file__", None)
        own = getattr(sys.modules.get(self._own), "__file__", None)
        return file is None or (own is not None and Path(own).parent in Path(file).parents)


def _closure(distribution: str) -> Iterator[str]:
    """Yield a distribution's mandatory dependencies and theirs, normalised, each once."""
    from packaging.requirements import Requirement

    seen: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = _normalised(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        yield name
        try:
            wanted = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # another platform's
            continue
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
