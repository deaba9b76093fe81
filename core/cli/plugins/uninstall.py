"""``plugins uninstall``: remove a plugin with its distribution."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ...api.inventory.installation import plugins_beside, remove_environment
from ...host.registry import PluginRecord
from ...isolation.installers import uninstall_command
from .. import exit_codes
from ..output import CONTEXT, echo, json_option, print_json
from .install import run


@click.command(context_settings=CONTEXT)
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Uninstall nothing; print the command.")
@json_option
def uninstall(name: str, dry_run: bool, as_json: bool) -> int:
    """Uninstall a plugin, by its own name or by that of its distribution."""
    found = plugins_beside(name)
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
    names = [plugin.name for plugin in found]
    folder = remove_environment(python, names[0], dry_run=dry_run)
    if as_json:
        print_json({"environment": str(folder), "plugins": names})
    else:
        echo(f"{'would remove' if dry_run else 'removed'} {folder} with {', '.join(names)}")
    return exit_codes.DONE
