"""``plugins install``: into the environment that decodebench runs in, or into one of the plugin's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click

from ...api.inventory.installation import broken_requirements, known_plugins, news_since
from ...errors import UsageError
from ...isolation.installers import Command, Specs, install_command
from .. import exit_codes
from ..guidance.sections import examples
from ..output import CONTEXT, announce, echo, json_option, print_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@click.command(
    context_settings=CONTEXT,
    epilog=examples("decodebench plugins install -e ./my-engine", "decodebench plugins install --isolated my-engine"),
)
@click.argument("specs", nargs=-1, metavar="SPEC...")
@click.option("-e", "--editable", multiple=True, metavar="DIR", help="Install a folder in editable mode; repeatable.")
@click.option(
    "--isolated", metavar="NAME", help="Create an environment of this name for the plugins; SPEC defaults to NAME."
)
@click.option("--python", metavar="PYTHON", help="With --isolated: Python interpreter of the new environment.")
@click.option("--dry-run", is_flag=True, help="Install nothing; print the command.")
@json_option
def install(
    specs: tuple[str, ...],
    editable: tuple[str, ...],
    isolated: str | None,
    python: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Install plugins into the environment of decodebench, or into one of their own.

    SPEC is what pip takes: a name, a name with a version, a folder, a wheel or a URL.
    """
    wanted = Specs(specs, editable)
    if isolated is not None:
        return _install_isolated(isolated, wanted, python, dry_run=dry_run, as_json=as_json)
    if python is not None:
        raise UsageError("--python needs --isolated", code="conflicting-flags")
    if not (wanted.plain or wanted.editable):
        raise UsageError("nothing to install: give a SPEC, such as a name or a folder, or -e DIR", code="missing-flag")
    command = install_command(wanted)
    if dry_run:
        print_json({"command": command}) if as_json else echo(shlex.join(command))
        return exit_codes.DONE
    before = known_plugins()
    if run(command) != 0:
        echo(f"decodebench: nothing was installed: `{shlex.join(command)}` failed", err=True)
        return exit_codes.FAILED
    found = news_since(before)
    broken = list(broken_requirements())
    if as_json:
        print_json({"command": command, "plugins": found, "broken": broken})
    else:
        _say(found)
    for line in broken:
        echo(f"decodebench: {line}", err=True)
    return exit_codes.FAILED if broken or any(plugin["status"] == "failed" for plugin in found) else exit_codes.DONE


def _install_isolated(name: str, specs: Specs, python: str | None, *, dry_run: bool, as_json: bool) -> int:
    from ...isolation.virtual_environments import check_base, commands, create, folder_of, python_in
    from ...isolation.worker_part import bare_environment

    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--isolated {name!r}: a name may have letters, digits, '.', '_' and '-', the first a letter or digit",
            code="bad-value",
        )
    base = check_base(python) if python else None
    wanted = specs if specs.plain or specs.editable else Specs((name,))
    if dry_run:
        lines = commands(name, wanted, base)
        print_json({"commands": lines}) if as_json else echo("\n".join(map(shlex.join, lines)))
        if not as_json:
            echo("then what these require, with an empty decodebench in place of decodebench")
        return exit_codes.DONE
    found = create(name, wanted, base, partial(run, environment=bare_environment()))
    interpreter = python_in(folder_of(name))
    if as_json:
        print_json({"python": str(interpreter), "plugins": found})
    else:
        _say(found)
        echo(f"they run in {interpreter}")
    return exit_codes.FAILED if any(plugin["status"] == "failed" for plugin in found) else exit_codes.DONE


def run(command: Command, environment: Mapping[str, str] | None = None) -> int:
    """Run an installer, with other variables where they are given; what it says goes to the error output."""
    announce(shlex.join(command))
    try:
        return subprocess.run(command, stdout=sys.stderr, env=environment, check=False).returncode
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}", code="install-failed") from error


def _say(found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        echo("no plugin came with it: it was there already, or has no entry point of the group 'decodebench'")
    for plugin in found:
        provided = "; ".join(
            f"{hook.removeprefix('decodebench_')}: {', '.join(names)}" for hook, names in plugin["provides"].items()
        )
        echo(f"{plugin['name']} ({plugin['distribution']} {plugin['version']}): {plugin['reason'] or provided}")
        for clash in plugin["clashes"]:
            echo(f"  {clash}")
