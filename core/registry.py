"""The plugin host: finds plugins by entry point, checks each on its own, and lists the bad ones with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import pluggy
from pydantic import Field

from . import hookspecs
from .errors import PluginError, UsageError, unknown_name
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

DISABLE_VARIABLE = "DECODEBENCH_DISABLE_PLUGINS"

PluginStatus = Literal["ok", "disabled", "failed"]


class PluginRecord(Record):
    """One plugin as ``decodebench plugins`` lists it."""

    name: str = Field(description="name of the entry point")
    module: str = Field(description="what the entry point names")
    distribution: str | None = Field(description="distribution that provides it")
    version: str | None = Field(description="version of that distribution")
    api: str | None = Field(None, description="versions of the plugin contract that it asks for")
    hooks: tuple[str, ...] = Field((), description="hooks that it implements")
    provides: dict[str, tuple[str, ...]] = Field({}, description="names that it adds, by hook")
    status: PluginStatus = Field("ok", description="ok, disabled by the user, or failed")
    reason: str | None = Field(None, description="why it was skipped")

    @property
    def origin(self) -> str | None:
        """Distribution and version, as records of what it provided name it; None outside any distribution."""
        return f"{self.distribution} {self.version}" if self.distribution else None


class _Named(Protocol):
    name: str


N = TypeVar("N")


class Registry:
    """Everything that plugins provide. Reading it loads the plugins; a command that needs none pays nothing.

    Args:
        only: load just these entry points (a worker needs one).
    """

    def __init__(self, only: Iterable[str] | None = None) -> None:
        self._only = None if only is None else set(only)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._names: dict[str, dict[str, str]] = {}  # hook -> provided name -> plugin
        self._found: dict[str, dict[str, Any]] = {}  # hook -> provided name -> object

    @cached_property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """Every plugin found, in the order of loading, with its status."""
        disabled = {name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip()}
        points = sorted(entry_points(group=hookspecs.PROJECT), key=_own_first)
        if self._only is not None:
            points = [point for point in points if point.name in self._only]
        return tuple(self._load(point, point.name in disabled) for point in points)

    def _load(self, point: EntryPoint, is_disabled: bool) -> PluginRecord:
        about = {
            "name": point.name,
            "module": point.value,
            "distribution": point.dist.name if point.dist else None,
            "version": point.dist.version if point.dist else None,
        }
        if is_disabled:
            return PluginRecord(**about, status="disabled", reason=f"named in {DISABLE_VARIABLE}")
        plugin = None
        try:
            if self._manager.has_plugin(point.name):
                raise PluginError("another distribution has an entry point of the same name")
            plugin = point.load()
            api = _check_api(plugin)
            self._manager.register(plugin, name=point.name)
            provides = self._collect(point.name, plugin)
        except Exception as error:  # noqa: BLE001 - the plugin boundary: a bad plugin becomes a listed reason
            self._forget(point.name)
            reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            return PluginRecord(**about, status="failed", reason=" ".join(reason.split()))
        return PluginRecord(**about, api=api, hooks=tuple(provides), provides=provides)

    def _collect(self, plugin_name: str, plugin: object) -> dict[str, tuple[str, ...]]:
        """Call every hook that ``plugin`` implements once and keep what it provides; refuse clashing names."""
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError("implements no decodebench hook (is @decodebench.hookimpl missing?)")
        provides: dict[str, tuple[str, ...]] = {}
        for caller in callers:
            if not caller.has_spec():
                known = [name for name in vars(hookspecs) if name.startswith("decodebench_")]
                raise PluginError(str(unknown_name("hook", caller.name, known)))
            implementation = next(i for i in caller.get_hookimpls() if i.plugin_name == plugin_name)
            items = cast("Iterable[Any]", implementation.function())
            provides[caller.name] = self._add(plugin_name, caller.name, items)
        return provides

    def _add(self, plugin_name: str, hook: str, items: Iterable[Any]) -> tuple[str, ...]:
        owners = self._names.setdefault(hook, {})
        objects = self._found.setdefault(hook, {})
        names = []
        for item in items:
            name = item.id if hasattr(item, "id") else item.name
            if name in owners:
                noun = hook.removeprefix("decodebench_").removesuffix("s")
                raise PluginError(f"{noun} {name!r} is already provided by plugin {owners[name]!r}")
            owners[name] = plugin_name
            objects[name] = item
            names.append(name)
        return tuple(names)

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
        plain, colon, argument = name.partition(":")
        return self._get("task", self.tasks, plain)(argument if colon else None)

    def log_parser(self, name: str) -> type[LogParser]:
        """Return a log parser class; raises ``UsageError`` with the nearest name, or with the plugin's failure."""
        return self._get("log format", self.log_parsers, name)

    def _get(self, kind: str, known: Mapping[str, N], name: str) -> N:
        if name in known:
            return known[name]
        for plugin in self.plugins:
            if plugin.name == name and plugin.status != "ok":
                raise UsageError(f"{kind} {name!r}: its plugin is {plugin.status}: {plugin.reason}")
        raise unknown_name(kind, name, known)

    def provider(self, hook: str, name: str) -> PluginRecord:
        """Return the plugin that provides ``name`` through ``hook``."""
        owner = self._names[hook][name]
        return next(plugin for plugin in self.plugins if plugin.name == owner)


def _own_first(point: EntryPoint) -> tuple[bool, str, str]:
    """Order plugins: the host's own distribution, then by distribution and name; so clashes end alike each time."""
    distribution = point.dist.name if point.dist else ""
    return distribution != hookspecs.PROJECT, distribution, point.name


def _check_api(plugin: object) -> str | None:
    wanted = getattr(plugin, "decodebench_api", None)
    if wanted is None:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        accepted = SpecifierSet(wanted)
    except (InvalidSpecifier, AttributeError, TypeError) as error:
        raise PluginError(f"decodebench_api = {wanted!r} is no version specifier") from error
    if not accepted.contains(hookspecs.API_VERSION):
        raise PluginError(f"asks for plugin API {wanted}, this decodebench offers {hookspecs.API_VERSION}")
    return str(wanted)
