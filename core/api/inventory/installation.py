"""What installing and removing distributions does to the plugins of this environment."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from ...contract.hookspecs import PROJECT
from ...errors import UsageError, unknown_name
from ...host.registry import PluginRecord
from ...host.user_files import config_file
from ...isolation.installers import normalised
from ..plugins import installed_plugins


def known_plugins() -> dict[str, PluginRecord]:
    """Return the plugins of this process by their addresses."""
    return {plugin.address: plugin for plugin in installed_plugins().plugins}


def news_since(before: Mapping[str, PluginRecord]) -> list[dict[str, Any]]:
    """Return the plugins that are new, or of another version or status, as a process sees them that starts now.

    Raises:
        UsageError: decodebench itself no longer runs.
    """
    return [plugin for plugin in _listed_anew() if _is_news(plugin, before)]


def _listed_anew() -> list[dict[str, Any]]:
    """List the plugins in a process that sees what has just been installed."""
    command = [sys.executable, "-m", PROJECT, "plugins", "list", "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ}, check=False)
    if ended.returncode != 0:
        raise UsageError(f"{PROJECT} itself no longer runs; `{shlex.join(command)}` says why", code="install-failed")
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


def _is_news(plugin: Mapping[str, Any], before: Mapping[str, PluginRecord]) -> bool:
    known = before.get(plugin["address"])
    return known is None or (known.version, known.status) != (plugin["version"], plugin["status"])


def broken_requirements() -> Iterator[str]:
    """Say which of the host's own requirements the installed packages do not meet any more."""
    from packaging.requirements import Requirement

    for text in requires(PROJECT) or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = version(wanted.name)
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} is now {found}, but decodebench needs {wanted}; undo it, or use --isolated"


def plugins_beside(name: str) -> list[PluginRecord]:
    """Return every plugin of the distribution that ``name`` leads to.

    Raises:
        UsageError: there is none, or it is the host's own, or a file.
    """
    plugins = installed_plugins().plugins
    matches = [
        plugin
        for plugin in plugins
        if name in (plugin.name, plugin.address) or normalised(name) == normalised(plugin.distribution or "")
    ]
    if not matches:
        known = {plugin.name for plugin in plugins if plugin.distribution != PROJECT}
        raise unknown_name("plugin", name, known)
    owner = matches[0].distribution
    if owner == PROJECT:
        raise UsageError(
            f"{name!r} belongs to decodebench itself; DECODEBENCH_DISABLE_PLUGINS={matches[0].name} turns it off",
            code="install-failed",
        )
    if owner is None and matches[0].python is None:
        raise UsageError(f"{name!r} is the file {matches[0].module}: leave --plugin out instead", code="install-failed")
    return [plugin for plugin in plugins if (plugin.distribution, plugin.python) == (owner, matches[0].python)]


def remove_environment(python: Path, name: str, *, dry_run: bool = False) -> Path:
    """Delete the environment that was made for a plugin and return its folder.

    Args:
        python: its interpreter.
        name: of the plugin.
        dry_run: only check whether it may be deleted.

    Raises:
        UsageError: decodebench did not create it.
    """
    from ...isolation.virtual_environments import is_ours, remove

    folder = python.parent.parent
    if not is_ours(python):
        advice = f"take its table [backends.NAME] out of {config_file()}"
        raise UsageError(f"{name!r} is in {folder}, which decodebench did not create: {advice}", code="install-failed")
    if not dry_run:
        remove(python)
    return folder
