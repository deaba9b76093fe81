"""Where plugins come from: entry points of installed distributions, and one-off files named by ``--plugin``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from ..contract import hookspecs
from ..errors import PluginError, UsageError, unknown_name
from .user_files import plugin_files

DISABLE_VARIABLE = "DECODEBENCH_DISABLE_PLUGINS"
LOAD_VARIABLE = "DECODEBENCH_LOAD_PLUGINS"
FILES_VARIABLE = "DECODEBENCH_PLUGIN"
"""Files of ``--plugin``, joined as a search path is."""

_DECLARED_API = re.compile(r"""^decodebench_api\s*(?::[^=\n]*)?=\s*(["'])([^"'\n]*)\1""", re.MULTILINE)

_CORE = f"{hookspecs.PROJECT}.core."
_HIDES_NAMES = re.compile(r"import\s+\*|globals\s*\(|vars\s*\(|setattr\s*\(|exec\s*\(|__getattr__|sys\.modules")


@dataclass(frozen=True, slots=True)
class PluginSource:
    """One plugin before anything of it has run.

    Attributes:
        name: of the entry point, or of the file without its suffix.
        module: what the entry point names, or the file's path.
        distribution: what provides it; None for a file.
        version: of that distribution.
        point: the entry point; None for a file.
        file: of a one-off plugin; None for an installed one.
        is_asked_for: whether this call names it with ``--plugin``, so that nothing goes on without it.
        python: the interpreter that it lives in; None for the host's own.
        plugin: gives the object with its hooks, where neither an entry point nor a file does.
        revision: says in which state that one's code is, likewise.
    """

    name: str
    module: str
    distribution: str | None = None
    version: str | None = None
    point: EntryPoint | None = None
    file: Path | None = None
    is_asked_for: bool = False
    python: Path | None = None
    plugin: Callable[[], object] | None = None
    revision: Callable[[], str | None] | None = None

    @property
    def owner(self) -> str:
        """What stands before the colon where a name alone is not enough: the distribution, or the file's name."""
        return self.distribution or (self.file.name if self.file else "")

    @property
    def address(self) -> str:
        """The plugin's name that no other plugin can have."""
        return f"{self.owner}:{self.name}" if self.owner else self.name

    @property
    def is_of_core(self) -> bool:
        """Whether it is a part of the host that comes as a plugin, such as the launcher for this machine."""
        return self.python is None and self.owner == hookspecs.PROJECT and self.module.startswith(_CORE)

    def answers_to(self, names: Collection[str]) -> bool:
        """Whether one of ``names`` is this plugin's name, address or distribution."""
        return bool({self.name, self.address, self.owner} & set(names))

    def declared_api(self) -> str | None:
        """Read ``decodebench_api`` off the source file; None where it is not written there as a plain text."""
        if self.python is not None:
            return None  # it was checked where it lives
        found = _DECLARED_API.search(self._text() or "")
        return found.group(2) if found else None

    def may_implement(self, hook: str) -> bool:
        """Whether the source does not rule it out: a module that never writes a hook's name does not implement it.

        Not ruled out where the hooks are an object's, or where names may come about without being written.
        """
        if self.python is not None:
            return hook == "decodebench_backends"
        text = None if ":" in self.module and self.file is None else self._text()
        return text is None or hook in text or _HIDES_NAMES.search(text) is not None

    def _text(self) -> str | None:
        file = self.file or _source_file(self.module.partition(":")[0])
        try:
            return file.read_text(encoding="utf-8") if file else None
        except (OSError, ValueError):
            return None

    def load(self) -> object:
        """Import the module or the file, once per process."""
        if self.plugin is not None:
            return self.plugin()
        if self.point is not None:
            return self.point.load()
        assert self.file is not None
        return _import_file(self.file)


def installed_names() -> set[str]:
    """Return the names of all installed plugins; none is imported."""
    return {point.name for point in entry_points(group=hookspecs.PROJECT)}


def sources(
    only: Iterable[str] | None, files: Iterable[PluginSource], remote: Iterable[PluginSource] = ()
) -> Iterator[tuple[PluginSource, str | None]]:
    """Yield every plugin in the order of loading, and why the user does not want it, or None.

    What the user put into an interpreter of its own comes first, then the host's own distribution, then the others by
    name, then files: so clashes end alike each time.

    Args:
        only: names or addresses; nothing else is yielded, and what the user turned off counts for nothing.
        files: one-off plugins.
        remote: plugins of other interpreters.

    Raises:
        UsageError: ``DECODEBENCH_LOAD_PLUGINS`` names what is not there.
    """
    found = [*remote, *sorted(_installed(), key=_own_first), *files]
    if only is not None:
        wanted = set(only)
        yield from ((source, None) for source in found if {source.name, source.address} & wanted)
        return
    disabled, chosen = _named_in(DISABLE_VARIABLE), _named_in(LOAD_VARIABLE)
    for name in chosen:
        if not any(source.answers_to([name]) for source in found):
            known = {source.name for source in found} | {source.owner for source in found}
            raise UsageError(f"{LOAD_VARIABLE}: {unknown_name('plugin', name, known)}", code="unknown-name")
    for source in found:
        if source.answers_to(disabled):
            yield source, f"named in {DISABLE_VARIABLE}"
        elif chosen and not (source.is_asked_for or source.is_of_core or source.answers_to(chosen)):
            yield source, f"not named in {LOAD_VARIABLE}"
        else:
            yield source, None


def user_files() -> list[PluginSource]:
    """Return the one-off plugins of the config file, then those that ``--plugin`` named for this process and its own.

    Raises:
        UsageError: the config file does not name files.
    """
    named = [Path(file) for file in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if file]
    return [*map(from_file, plugin_files()), *(from_file(file, is_asked_for=True) for file in named)]


def from_file(file: Path, *, is_asked_for: bool = False) -> PluginSource:
    """Return the plugin that a file is."""
    return PluginSource(file.stem, str(file), file=file, is_asked_for=is_asked_for)


def _named_in(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _installed() -> Iterator[PluginSource]:
    """Yield the plugins of all distributions, the metadata of each of which is read once: that takes milliseconds."""
    known: dict[int, tuple[str, str]] = {}
    for point in entry_points(group=hookspecs.PROJECT):
        if point.dist is None:
            yield PluginSource(point.name, point.value, point=point)
            continue
        if id(point.dist) not in known:
            metadata = point.dist.metadata
            known[id(point.dist)] = metadata["Name"], metadata["Version"]
        yield PluginSource(point.name, point.value, *known[id(point.dist)], point)


def _own_first(source: PluginSource) -> tuple[bool, str, str]:
    return source.distribution != hookspecs.PROJECT, source.distribution or "", source.name


def _source_file(module: str) -> Path | None:
    """Find a module's file without importing its packages, which ``find_spec`` would do."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def module_name(file: Path) -> str:
    """Return what the module of a one-off file is called."""
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    return f"decodebench_plugin_{re.sub(r'[^A-Za-z0-9_]', '_', file.stem)}_{digest}"


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise PluginError(f"{file}: no such file", code="file-unreadable")
    name = module_name(file)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file}: not a Python file", code="file-unreadable")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its classes are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
