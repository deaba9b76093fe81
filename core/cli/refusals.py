"""How a command says why it ended early: a line with its code, and with ``--json`` the same as JSON."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from ..errors import BackendError, BusyError, DecodebenchError
from ..records.store_file import StoreTroubleError
from . import exit_codes
from .output import echo, print_json

if TYPE_CHECKING:
    from pydantic import JsonValue

_TOO_DEEP = "something that was read nests too deep to be taken in: simplify it"

Refusal = click.ClickException | DecodebenchError | RecursionError | OSError


def report(error: Refusal) -> int:
    """Print an error on the error output, and as JSON on the output where that was asked for; return the exit code."""
    code, text, exit_code = _described(error)
    first, *further = text.split("\n")  # what follows may be a command to copy
    shown = "\n".join([f"{first} [{code}]", *further])
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
        echo(f"{text}\n\ndecodebench: no command given [{code}]", err=True)
    elif isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(shown, context).show()
    else:
        echo(f"decodebench: {shown}", err=True)
    if "--json" in sys.argv[1:]:
        fields: dict[str, JsonValue] = error.fields if isinstance(error, DecodebenchError) else {}
        with suppress(OSError):  # what ended the command may be the output itself
            print_json({"error": {"code": code, "message": text, "exit_code": exit_code, **fields}})
    return exit_code


def _described(error: Refusal) -> tuple[str, str, int]:
    """Return code, text and exit code of an error."""
    match error:
        case click.ClickException():
            return "command-line", error.format_message(), exit_codes.USAGE
        case BackendError() | BusyError() | StoreTroubleError():
            return error.code, str(error), exit_codes.FAILED
        case DecodebenchError():
            return error.code, str(error), exit_codes.USAGE
        case OSError():
            place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
            return "file-trouble", f"{place}{error.strerror or error}", exit_codes.FAILED
    return "file-unreadable", _TOO_DEEP, exit_codes.USAGE
