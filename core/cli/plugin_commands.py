"""Commands that plugins add: listed without importing a plugin, loaded when one is called."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ..cache import default_root

if TYPE_CHECKING:
    import click

_GROUP = "decodebench"  # as in `hookspecs`, which imports pluggy


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
    commands = _provided()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"plugins": fingerprint, "commands": commands}), encoding="utf-8")
    except OSError:
        pass  # a cache that cannot be written makes the help slow, not wrong
    return commands


def load(name: str) -> click.Command | None:
    """Import the command called ``name``; None where no plugin has one."""
    from ..registry import Registry

    command = Registry().commands.get(name)
    return None if command is None else command.load()


def _provided() -> dict[str, str]:
    from ..registry import Registry

    return {name: command.summary for name, command in Registry().commands.items()}


def _fingerprint() -> str:
    points = entry_points(group=_GROUP)
    about = sorted(f"{p.name}={p.value} {p.dist.name} {p.dist.version}" if p.dist else p.name for p in points)
    return hashlib.sha256("\n".join(about).encode()).hexdigest()
