"""What a sub-command of a plugin is to the host: a name, a line for the help and how to get at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command that a plugin adds.

    Attributes:
        name: what users type after ``decodebench``; the host's own commands take precedence.
        summary: one line for the list of commands.
        load: imports and returns the command; called when it is asked for. It raises ``DecodebenchError``s, which the
            host prints, and returns an exit code or None.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]
