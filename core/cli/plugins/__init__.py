"""``plugins``: a group whose sub-commands are imported when they are called; without one it lists.

Imports: api, cli, cli.guidance, conformance, host, isolation. Imported by: cli.experiments.
"""

from __future__ import annotations

from importlib import import_module

import click

from ..output import CONTEXT, json_option

# name -> what it does; each stands in a module of its name, so that `--help` imports none of them
_COMMANDS = {
    "list": "List plugins; for those that are not loaded, the reason.",
    "show": "Show everything about one plugin: what it provides, where it comes from, what is wrong with it.",
    "install": "Install plugins into the environment of decodebench, or into one of their own.",
    "uninstall": "Uninstall a plugin, by its own name or by that of its distribution.",
    "new": "Create a plugin from a template: a complete package with tests.",
    "check": "Check a backend against the plugin contract.",
}


class Plugins(click.Group):
    """The sub-commands of ``plugins``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table above."""
        return [*_COMMANDS]  # `list` is a module here, once it has been imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one sub-command."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([*_COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown sub-command with the nearest name."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from ...errors import unknown_name

            raise unknown_name("command of `plugins`", args[0], _COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=Plugins, invoke_without_command=True, context_settings=CONTEXT)
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List, show, install, write and check plugins. Without a command, list them."""
    if ctx.invoked_subcommand is None:
        from .list import show_all

        show_all(as_json=as_json)
