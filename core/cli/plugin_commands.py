"""Commands that plugins add: listed without importing a plugin, loaded when one is called."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING

from ..cache import default_root
from ..errors import DecodebenchError, UsageError
from ..files import write_whole

if TYPE_CHECKING:
    import click

# As in `plugin_sources`, which imports pluggy.
_FILES = "DECODEBENCH_PLUGIN"
_VARIABLES = ("DECODEBENCH_DISABLE_PLUGINS", "DECODEBENCH_LOAD_PLUGINS", _FILES)


def listed() -> dict[str, str]:
    """Return name and summary of every command of a plugin.

    Importing all plugins to print a help would take longer than the help may, so what they provide is remembered in
    the user's cache until another set of plugins is installed.
    """
    fingerprint = _fingerprint()
    file = default_root() / "plugin-commands.json"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["plugins"] == fingerprint:
            return dict(known["commands"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        commands = _provided()
    except UsageError:  # the config file is broken: a command that needs it says so
        return {}
    try:
        write_whole(file, json.dumps({"plugins": fingerprint, "commands": commands}))
    except DecodebenchError:
        pass  # a cache that cannot be written makes the help slow, not wrong
    return commands


def load(name: str) -> click.Command | None:
    """Import the command called ``name``; None where no plugin has one."""
    from ..api.plugins import installed_plugins

    command = installed_plugins().commands.get(name)
    return None if command is None else command.load()


def _provided() -> dict[str, str]:
    from ..api.plugins import installed_plugins

    return {name: command.summary for name, command in installed_plugins().commands.items()}


def _fingerprint() -> str:
    """Say which plugins there can be, without looking into any of them.

    An installer adds or removes a folder where it installs or removes a distribution, so the times of the folders on
    the search path tell, however many distributions they hold.
    """
    about = [f"{name}={os.environ.get(name, '')}" for name in _VARIABLES]
    here = ("", os.getcwd())  # whose time changes with every file that is written there
    about += [_time_of(entry) for entry in sys.path if entry not in here]
    about += [_time_of(file) for file in os.environ.get(_FILES, "").split(os.pathsep) if file]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()


def _time_of(path: str) -> str:
    try:
        return f"{path} {os.stat(path).st_mtime_ns}"
    except OSError:
        return path
