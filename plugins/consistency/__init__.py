"""The plugin `consistency`: printed tables recomputed from their own figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.command import Command
from ...core.contract.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

decodebench_api = ">=3,<4"


def _load() -> click.Command:
    from .command import consistency

    return consistency


@hookimpl
def decodebench_commands() -> Sequence[Command]:
    """Return the one command."""
    return [Command("consistency", "Recompute published tables from their own numbers.", _load)]
