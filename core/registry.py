"""The plugin host: loads plugins one at a time, checks each on its own, and lists the bad ones with a reason."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import pluggy
from pydantic import Field

from . import contributions, hookspecs
from .contributions import name_of, noun, renamed
from .errors import PluginError, UsageError, unknown_name
from .plugin_sources import PluginSource, files_of_the_user, sources
from .plugin_trace import traced
from .provenance import revision
from .remote_plugins import remote_plugins
from .schema import Record

if TYPE_CHECKING:
    from .backend import Backend
    from .command import Command
    from .exporter import Exporter
    from .figure import Figure
    from .finding import FindingCheck
    from .logparser import LogParser
    from .models import ModelSource
    from .sweep import Sweep
    from .tasks import Task

PluginStatus = Literal["ok", "disabled", "failed"]


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

    @property
    def origin(self) -> str | None:
        """Distribution and version, or the file's name, as records of what it provided name it."""
        if self.distribution:
            return f"{self.distribution} {self.version}"
        return self.file.name if self.file else None

    @property
    def revision(self) -> str | None:
        """Commit of an editable install or hash of a file; see ``provenance``."""
        if self.python is not None:
            from .interpreter import interpreter_at

            found: str | None = interpreter_at(self.python).ask("revision", distribution=self.distribution)
            return found
        return revision(self.distribution, self.file)


N = TypeVar("N")


class Registry:
    """Everything that plugins provide. Reading it loads the plugins; a command that needs none pays nothing.

    Args:
        only: load just the plugins of these names or addresses (a worker needs one).
        files: one-off plugins; those of ``--plugin`` where nothing is said.
        hook: the one hook that will be asked for: plugins whose source does not name it are not even imported.
    """

    def __init__(
        self, only: Iterable[str] | None = None, files: Iterable[Path] | None = None, hook: str | None = None
    ) -> None:
        self._hook = hook
        self._only = None if only is None else set(only)
        self._files = list(files_of_the_user() if files is None else files)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._names: dict[str, dict[str, str]] = {}  # hook -> provided name -> plugin
        self._found: dict[str, dict[str, Any]] = {}  # hook -> provided name -> object

    @cached_property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """Every plugin found, in the order of loading, with its status.

        Raises:
            UsageError: a file of ``--plugin`` fails, or ``DECODEBENCH_LOAD_PLUGINS`` names what is not there.
        """
        records: list[PluginRecord] = []
        for source, unwanted in sources(self._only, self._files, remote_plugins() if self._only is None else ()):
            if self._hook is not None and not source.may_implement(self._hook):
                continue
            is_taken = any(record.name == source.name for record in records)
            about = PluginRecord(
                name=source.address if is_taken else source.name,
                address=source.address,
                module=source.module,
                distribution=source.distribution,
                version=source.version,
                file=source.file,
                python=source.python,
            )
            if unwanted:
                records.append(about.model_copy(update={"status": "disabled", "reason": unwanted}))
            else:
                records.append(self._load(source, about))
        return tuple(records)

    def _load(self, source: PluginSource, about: PluginRecord) -> PluginRecord:
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
                    self._manager.register(plugin, name=about.name)
                provides, clashes = self._collect(about, plugin, label)
        except (Exception, SystemExit) as error:  # the plugin boundary: a bad plugin becomes a listed reason
            self._forget(about.name)
            reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())
            if source.file is not None:
                raise UsageError(f"--plugin {source.file}: {reason}") from error
            return about.model_copy(update={"status": "failed", "reason": reason})
        found = {"api": api, "hooks": tuple(provides), "provides": provides, "clashes": tuple(clashes)}
        found["notices"] = tuple(str(warning.message) for warning in said)
        return about.model_copy(update=found)

    def _collect(self, about: PluginRecord, plugin: object, label: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
        """Call every hook that ``plugin`` implements once and keep what it provides."""
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError("implements no decodebench hook (is @decodebench.hookimpl missing?)")
        provides: dict[str, tuple[str, ...]] = {}
        clashes: list[str] = []
        for caller in callers:
            if not caller.has_spec():
                known = [name for name in vars(hookspecs) if name.startswith("decodebench_")]
                raise PluginError(str(unknown_name("hook", caller.name, known)))
            implementation = next(i for i in caller.get_hookimpls() if i.plugin_name == about.name)
            with traced(caller.name, label):
                items = list(cast("Iterable[Any]", implementation.function()))
            provides[caller.name] = tuple(self._add(about, caller.name, item, clashes) for item in items)
        return provides, clashes

    def _add(self, about: PluginRecord, hook: str, item: Any, clashes: list[str]) -> str:  # noqa: ANN401 - see check
        """Keep one thing under its name; where that is taken, under ``distribution:name``, and say so."""
        contributions.check(hook, item)
        owners, objects = self._names.setdefault(hook, {}), self._found.setdefault(hook, {})
        name = name_of(item)
        if name in owners:
            full = f"{about.address.partition(':')[0]}:{name}"
            taken = f"{noun(hook)} {name!r} is already provided by plugin {owners[name]!r}"
            if full in owners or owners[name] == about.name:
                raise PluginError(taken)
            clashes.append(f"{taken}; this one is {full!r}")
            item, name = renamed(item, full), full
        owners[name] = about.name
        objects[name] = item
        return name

    def _forget(self, plugin_name: str) -> None:
        """Roll a half-registered plugin back whole."""
        if self._manager.has_plugin(plugin_name):
            self._manager.unregister(name=plugin_name)
        for hook, owners in self._names.items():
            for name in [name for name, owner in owners.items() if owner == plugin_name]:
                del owners[name]
                del self._found[hook][name]

    def _all(self, hook: str) -> Mapping[str, Any]:
        _ = self.plugins
        return self._found.get(hook, {})

    @property
    def backends(self) -> Mapping[str, type[Backend]]:
        """Backend classes by name."""
        return self._all("decodebench_backends")

    @property
    def models(self) -> Mapping[str, ModelSource]:
        """Named models by name."""
        return self._all("decodebench_models")

    @property
    def tasks(self) -> Mapping[str, type[Task]]:
        """Task classes by name."""
        return self._all("decodebench_tasks")

    @property
    def figures(self) -> Mapping[str, Figure]:
        """Figures by id."""
        return self._all("decodebench_figures")

    @property
    def log_parsers(self) -> Mapping[str, type[LogParser]]:
        """Log parser classes by name."""
        return self._all("decodebench_log_parsers")

    @property
    def exporters(self) -> Mapping[str, Exporter]:
        """Exporters by name."""
        return self._all("decodebench_exporters")

    @property
    def findings(self) -> Mapping[str, FindingCheck]:
        """Checks of measurements by name."""
        return self._all("decodebench_findings")

    @property
    def commands(self) -> Mapping[str, Command]:
        """Sub-commands by name."""
        return self._all("decodebench_commands")

    @property
    def sweeps(self) -> Mapping[str, Sweep]:
        """Sweep presets by name."""
        return self._all("decodebench_sweeps")

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

    def log_parser(self, name: str) -> type[LogParser]:
        """Return a log parser class; raises ``UsageError`` with the nearest name, or with the plugin's failure."""
        return self._get("log format", self.log_parsers, name)

    def _get(self, kind: str, known: Mapping[str, N], name: str) -> N:
        if name in known:
            return known[name]
        owner, _, rest = name.partition(":")
        for plugin in self.plugins:
            if plugin.status == "ok" and owner == plugin.address.partition(":")[0] and rest in known:
                hook = next(hook for hook, objects in self._found.items() if objects is known)
                if self._names[hook][rest] == plugin.name:
                    return known[rest]
            if plugin.name in (name, rest) and plugin.status != "ok":
                raise UsageError(f"{kind} {name!r}: its plugin is {plugin.status}: {plugin.reason}")
        raise unknown_name(kind, name, known)

    def provider(self, hook: str, name: str) -> PluginRecord:
        """Return the plugin that provides ``name`` through ``hook``."""
        owner = self._names[hook][name]
        return next(plugin for plugin in self.plugins if plugin.name == owner)

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
        raise PluginError(f"decodebench_api = {wanted!r} is no version specifier") from error
    if not accepted.contains(hookspecs.API_VERSION):
        raise PluginError(f"asks for plugin API {wanted}, this decodebench offers {hookspecs.API_VERSION}")
    return str(wanted)
