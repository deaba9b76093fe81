"""``help``: the help of a command, for those who type it first."""

from __future__ import annotations

import click

from ...errors import unknown_name
from ..output import CONTEXT, echo
from .completion import complete


@click.command(context_settings=CONTEXT)
@click.argument("names", metavar="[COMMAND]...", nargs=-1, shell_complete=complete("commands"))
@click.pass_context
def help(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command.

    `decodebench help plugins new` is `decodebench plugins new --help`.
    """
    at = ctx.find_root()
    for name in names:
        group = at.command
        known = group.list_commands(at) if isinstance(group, click.Group) else []
        command = group.get_command(at, name) if isinstance(group, click.Group) else None
        if command is None:
            raise unknown_name("command", name, known)
        at = click.Context(command, info_name=name, parent=at, **command.context_settings)
    echo(at.get_help())
