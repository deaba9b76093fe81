"""``plugins``: the listing, and what is done with plugins."""

from __future__ import annotations

import click

from ..listings import plugins as listing
from ..output import CONTEXT, json_option
from .check import check


@click.group(invoke_without_command=True, context_settings=CONTEXT)
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins, the skipped ones with the reason."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=as_json)


plugins.add_command(check)
