"""``plugins uninstall``: remove a plugin with its distribution."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ...api.plugins import installed_plugins
from ...contract.hookspecs import PROJECT
from ...errors import UsageError, unknown_name
from ...host.registry import PluginRecord
from ...host.user_files import config_file
from ...isolation.installers import normalised, uninstall_command
from .. import exit_codes
from ..output import CONTEXT, echo, json_option, print_json
from .install import run


@click.command(context_settings=CONTEXT)
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Uninstall nothing; print the command.")
@json_option
def uninstall(name: str, dry_run: bool, as_json: bool) -> int:
    """Uninstall a plugin, by its own name or by that of its distribution."""
    found = _of(installed_plugins().plugins, name)
    if found[0].python is not None:
        return _remove(found[0].python, found, dry_run=dry_run, as_json=as_json)
    distribution = str(found[0].distribution)
    command = uninstall_command(distribution)
    content = {"command": command, "distribution": distribution, "plugins": [plugin.name for plugin in found]}
    if dry_run:
        print_json(content) if as_json else echo(shlex.join(command))
        return exit_codes.DONE
    if run(command) != 0:
        echo(f"decodebench: nothing was removed: `{shlex.join(command)}` failed", err=True)
        return exit_codes.FAILED
    if as_json:
        print_json(content)
    else:
        echo(f"removed {distribution} with {', '.join(plugin.name for plugin in found)}")
    return exit_codes.DONE


def _remove(python: Path, found: list[PluginRecord], *, dry_run: bool, as_json: bool) -> int:
    """Delete the environment that was made for a plugin."""
    from ...isolation.virtual_environments import is_ours, remove

    folder, names = python.parent.parent, [plugin.name for plugin in found]
    if not is_ours(python):
        advice = f"take its table [backends.NAME] out of {config_file()}"
        raise UsageError(
            f"{names[0]!r} is in {folder}, which decodebench did not create: {advice}", code="install-failed"
        )
    if not dry_run:
        remove(python)
    if as_json:
        print_json({"environment": str(folder), "plugins": names})
    else:
        echo(f"{'would remove' if dry_run else 'removed'} {folder} with {', '.join(names)}")
    return exit_codes.DONE


def _of(plugins: tuple[PluginRecord, ...], name: str) -> list[PluginRecord]:
    """Return every plugin of the distribution that ``name`` leads to.

    Raises:
        UsageError: there is none, or it is the host's own, or a file.
    """
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
