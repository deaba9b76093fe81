"""``doctor``: what this machine has, what is missing and the command that gets it."""

from __future__ import annotations

import click

from .output import CONTEXT, json_option, print_json, print_table


@click.command(context_settings=CONTEXT)
@json_option
def doctor(as_json: bool) -> None:
    """Show what this machine has, what is missing and how to fix it."""
    from ..api.inventory.doctor import examine

    checks = examine()
    if as_json:
        print_json([check.model_dump(mode="json") for check in checks])
        return
    rows = [["ok" if c.is_good else "look", c.what, c.found + (f"\n-> {c.fix}" if c.fix else "")] for c in checks]
    print_table(["", "what", "found"], rows, empty="nothing to check")
