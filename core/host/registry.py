"""The plugin host: loads plugins one at a time, checks each on its own, and lists the bad ones with a reason."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import pluggy
from pydantic import Field

from ..contract import hookspecs
from ..errors import PluginError, UsageError, described, unknown_name
from ..records.schema import Record
from . import contributions
from .contributions import name_of, noun, renamed
from .provenance import revision
from .sources import PluginSource, from_file, sources, user_files
from .trace import traced

if TYPE_CHECKING:
    from ..contract.analysis import Analysis
    from ..contract.backend import Backend
    from ..contract.command import Command
    from ..contract.exporter import Exporter
    from ..contract.figure import Figure
    from ..contract.finding import FindingCheck
    from ..contract.launcher import Launcher
    from ..contract.log_parser import LogParser
    from ..contract.model_source import ModelSource
    from ..contract.sweep import Sweep
    from ..contract.task import Task

PluginStatus = Literal["ok", "disabled", "failed"]
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("decodebench_"))


class PluginRecord(Record):
    """One plugin as ``decodebench plugins`` lists it."""

    name: str = Field(description="name of the entry point; with its distribution in front where another has it too")
    address: str = Field(description="distribution:name, which no other plugin can have")
    module: str = Field(description="what the entry point names, or the path of the file")
    distribution: str | None = Field(description="distribution that provides it")
    version: str | None = Field(description="version of that distribution")
    file: Path | None = Field(None, description="the file, where it was loaded with --plugin")
    python: Path | None = Field(None, description="interpreter that it lives in, where that is not the host's own")
    api: str | None = Field(None, description="versions of the plugin contract that it asks for")
    hooks: tuple[str, ...] = Field((), description="hooks that it implements")
    provides: dict[str, tuple[str, ...]] = Field({}, description="names that it adds, by hook")
    notices: tuple[str, ...] = Field((), description="what it uses that is deprecated")
    clashes: tuple[str, ...] = Field((), description="names of its own that were taken, and what to write instead")
    status: PluginStatus = Field("ok", description="ok, disabled by the user, or failed")
    reason: str | None = Field(None, description="why it was skipped")
    _revision_elsewhere: Callable[[], str | None] | None = None

    @property
    def origin(self) -> str | None:
        """Distribution and version, or the file's name, as records of what it provided name it."""
        if self.distribution:
            return f"{self.distribution} {self.version}"
        return self.file.name if self.file else None

    @property
    def revision(self) -> str | None:
        """Commit of an editable install or hash of a file; see ``provenance``."""
        return self._revision_elsewhere() if self._revision_elsewhere else revision(self.distribution, self.file)


N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A plugin that was loaded, or why it was not.

    Attributes:
        about: what is known of it without asking for names.
        items: what each of its hooks returned.
    """

    about: PluginRecord
    items: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Names:
    """What all plugins provide through one hook.

    Attributes:
        objects: by name.
        owners: position of the plugin behind each name.
        clashes: (position of a plugin, what it may not be called and is called instead).
    """

    objects: dict[str, Any] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    clashes: list[tuple[int, str]] = field(default_factory=list)


class _Provided(Generic[N]):
    """What all plugins provide through the hook that an attribute is named after, by name."""

    def __set_name__(self, owner: type[Registry], name: str) -> None:
        self._hook = f"{hookspecs.PROJECT}_{name}"

    def __get__(self, registry: Registry, owner: type[Registry]) -> Mapping[str, N]:
        return registry._names_of(self._hook).objects


class Registry:
    """Everything that plugins provide. Made once per process and handed down.

    Reading it loads the plugins whose source names the hook that is asked for, and no others: a command that needs
    findings imports no engine's plugin, one that needs nothing pays nothing. What each hook provides is by name.

    Args:
        only: load just the plugins of these names or addresses (a worker needs one).
        files: one-off plugins; those of ``--plugin`` where nothing is said.
        remote: gives the plugins of other interpreters; not asked where ``only`` is given.
    """

    backends: _Provided[type[Backend]] = _Provided()
    models: _Provided[ModelSource] = _Provided()
    tasks: _Provided[type[Task]] = _Provided()
    figures: _Provided[Figure] = _Provided()
    log_parsers: _Provided[type[LogParser]] = _Provided()
    exporters: _Provided[Exporter] = _Provided()
    findings: _Provided[FindingCheck] = _Provided()
    analyses: _Provided[Analysis] = _Provided()
    commands: _Provided[Command] = _Provided()
    sweeps: _Provided[Sweep] = _Provided()
    launchers: _Provided[type[Launcher]] = _Provided()

    def __init__(
        self,
        only: Iterable[str] | None = None,
        files: Iterable[Path] | None = None,
        remote: Callable[[], Iterable[PluginSource]] = tuple,
    ) -> None:
        self._only = None if only is None else set(only)
        self._files = user_files() if files is None else [from_file(file, is_asked_for=True) for file in files]
        self._remote = remote
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[int, _Plugin] = {}  # by position in the order of loading
        self._named: dict[str, _Names] = {}  # by hook

    @cached_property
    def _found(self) -> Sequence[tuple[PluginSource, PluginRecord]]:
        """Every plugin in the order of loading, none imported yet; an unwanted one is disabled."""
        found: list[tuple[PluginSource, PluginRecord]] = []
        taken: set[str] = set()
        for source, unwanted in sources(self._only, self._files, self._remote() if self._only is None else ()):
            about = PluginRecord(
                name=source.address if source.name in taken else source.name,
                address=source.address,
                module=source.module,
                distribution=source.distribution,
                version=source.version,
                file=source.file,
                python=source.python,
                status="disabled" if unwanted else "ok",
                reason=unwanted,
            )
            about._revision_elsewhere = source.revision
            taken.add(about.name)
            found.append((source, about))
        return found

    @cached_property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """Every plugin found, in the order of loading, with its status; loads them all.

        Raises:
            UsageError: a file of ``--plugin`` fails, or ``DECODEBENCH_LOAD_PLUGINS`` names what is not there.
        """
        names = {hook: self._names_of(hook) for hook in _HOOKS}
        return tuple(self._record(at, names) for at in range(len(self._found)))

    def _record(self, at: int, names: Mapping[str, _Names]) -> PluginRecord:
        if at not in self._loaded:  # it names no hook at all
            self._loaded[at] = self._load(at)
        plugin = self._loaded[at]
        own = {hook: tuple(name for name, by in names[hook].owners.items() if by == at) for hook in plugin.items}
        clashes = tuple(text for found in names.values() for by, text in found.clashes if by == at)
        return plugin.about.model_copy(update={"hooks": tuple(own), "provides": own, "clashes": clashes})

    def _names_of(self, hook: str) -> _Names:
        """Name what every plugin provides through ``hook``, in the order of loading; clashes end alike each time."""
        if hook not in self._named:
            for at, (source, _) in enumerate(self._found):
                if at not in self._loaded and source.may_implement(hook):
                    self._loaded[at] = self._load(at)
            names = _Names()
            for at in sorted(self._loaded):
                for item in self._loaded[at].items.get(hook, ()):
                    self._add(names, hook, at, item)
            self._named[hook] = names
        return self._named[hook]

    def _add(self, names: _Names, hook: str, at: int, item: Any) -> None:  # noqa: ANN401 - checked when it was loaded
        """Keep one thing under its name; where that is taken, under ``distribution:name``, and say so."""
        name = name_of(item)
        if name in names.owners:
            owner = self._loaded[names.owners[name]].about.name
            full = f"{self._loaded[at].about.address.partition(':')[0]}:{name}"
            taken = f"{noun(hook)} {name!r} is already provided by plugin {owner!r}"
            if full in names.owners:
                names.clashes.append((at, f"{taken}, and {full!r} is taken too; this one is left out"))
                return
            names.clashes.append((at, f"{taken}; this one is {full!r}"))
            item, name = renamed(item, full), full
        names.owners[name] = at
        names.objects[name] = item

    def _load(self, at: int) -> _Plugin:
        source, about = self._found[at]
        if about.status != "ok":
            return _Plugin(about)
        registered = f"{at} {about.name}"
        label = about.address if about.version is None else f"{about.address} {about.version}"
        try:
            _check_api(source.declared_api())
            # What a plugin prints while it is imported must not stand among a command's own output.
            with redirect_stdout(sys.stderr):
                with traced("import", label):
                    plugin = source.load()
                api = _check_api(getattr(plugin, "decodebench_api", None))
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    self._manager.register(plugin, name=registered)
                items = self._collect(about, plugin, label)
        except (Exception, SystemExit) as error:  # the plugin boundary: a bad plugin becomes a listed reason
            if self._manager.has_plugin(registered):
                self._manager.unregister(name=registered)
            reason = " ".join(str(error).split()) if isinstance(error, PluginError) else described(error)
            if source.is_asked_for:
                raise UsageError(f"--plugin {source.file}: {reason}", code="plugin-failed") from error
            return _Plugin(about.model_copy(update={"status": "failed", "reason": reason}))
        notices = tuple(str(warning.message) for warning in said)
        return _Plugin(about.model_copy(update={"api": api, "notices": notices}), items)

    def _collect(self, about: PluginRecord, plugin: object, label: str) -> dict[str, list[Any]]:
        """Call every hook that ``plugin`` implements once and keep what it provides."""
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError(
                "implements no decodebench hook (is @decodebench.hookimpl missing?)", code="contract-broken"
            )
        items: dict[str, list[Any]] = {}
        for caller in callers:
            if not caller.has_spec():
                raise PluginError(str(unknown_name("hook", caller.name, _HOOKS)))
            implementation = next(i for i in caller.get_hookimpls() if i.plugin is plugin)
            with traced(caller.name, label):
                items[caller.name] = list(cast("Iterable[Any]", implementation.function()))
            for item in items[caller.name]:
                contributions.check(caller.name, item)
            twice = [name for name, count in Counter(map(name_of, items[caller.name])).items() if count > 1]
            if twice:
                raise PluginError(f"{noun(caller.name)} {twice[0]!r} is already provided by plugin {about.name!r}")
        return items

    def backend(self, name: str) -> type[Backend]:
        """Return a backend class; raises ``UsageError`` with the nearest name, or with the plugin's failure."""
        return self._get("backend", self.backends, name)

    def task(self, name: str) -> Task:
        """Return the task that a user calls ``name`` or ``name:argument``.

        Raises:
            UsageError: there is none (names the nearest), its plugin failed, or the argument is wrong.
        """
        # A task's own name may hold a colon, as ``distribution:name`` does.
        known = [task for task in self.tasks if name.startswith(f"{task}:") and name not in self.tasks]
        plain = max(known, key=len, default=name)
        argument = name[len(plain) + 1 :] if known else None
        return self._get("task", self.tasks, plain)(argument)

    def provider_of_task(self, task: Task) -> PluginRecord:
        """Return the plugin that provides a task."""
        name = next(name for name, kind in self.tasks.items() if kind is type(task))
        return self.provider("decodebench_tasks", name)

    def launcher(self, name: str) -> type[Launcher]:
        """Return a launcher class; raises ``UsageError`` with the nearest name, or with the plugin's failure."""
        return self._get("launcher", self.launchers, name)

    def log_parser(self, name: str) -> type[LogParser]:
        """Return a log parser class; raises ``UsageError`` with the nearest name, or with the plugin's failure."""
        return self._get("log format", self.log_parsers, name)

    def _get(self, kind: str, known: Mapping[str, N], name: str) -> N:
        if name in known:
            return known[name]
        owner, _, rest = name.partition(":")
        for plugin in self.plugins:
            if plugin.status == "ok" and owner == plugin.address.partition(":")[0] and rest in known:
                names = next(names for names in self._named.values() if names.objects is known)
                if self._loaded[names.owners[rest]].about.name == plugin.name:
                    return known[rest]
            if plugin.name in (name, rest) and plugin.status != "ok":
                raise UsageError(f"{kind} {name!r}: its plugin is {plugin.status}: {plugin.reason}", code="no-engine")
        raise unknown_name(kind, name, known)

    def provider(self, hook: str, name: str) -> PluginRecord:
        """Return the plugin that provides ``name`` through ``hook``."""
        return self._loaded[self._names_of(hook).owners[name]].about

    def place(self, backend: str) -> dict[str, Any]:
        """Return where a worker finds a backend: the fields of a ``Job`` that say so."""
        plugin = self.provider("decodebench_backends", backend)
        name = plugin.address if plugin.python else plugin.name
        return {"plugin": name, "plugin_file": plugin.file, "python": plugin.python}


def _check_api(wanted: object) -> str | None:
    if wanted is None:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        accepted = SpecifierSet(cast("str", wanted))
    except (InvalidSpecifier, AttributeError, TypeError) as error:
        raise PluginError(f"decodebench_api = {wanted!r} is not a version specifier", code="contract-broken") from error
    if not accepted.contains(hookspecs.API_VERSION):
        raise PluginError(
            f"asks for plugin API {wanted}, this decodebench offers {hookspecs.API_VERSION}", code="contract-broken"
        )
    return str(wanted)
