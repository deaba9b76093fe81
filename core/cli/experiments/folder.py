"""``status`` and ``experiments``: what is done in an output folder, and new names, or a bin, for its experiments."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import plural
from .. import exit_codes
from ..output import CONTEXT, echo, folder_argument, json_option, print_json, print_table

_SHOWN = 10  # failed rounds that are listed


@click.command(context_settings=CONTEXT)
@folder_argument
@json_option
def status(folder: Path, as_json: bool) -> int:
    """Show how many rounds are done, failed and left in each experiment of DIR.

    The target is what the last `run` of the experiment was asked for. The next one repeats failed rounds.
    Rounds that are being measured now count as to do, and are listed.
    """
    from ...api.experiments import status as state_of

    found = state_of(folder)
    if as_json:
        print_json([state.model_dump(mode="json") for state in found])
        return exit_codes.DONE
    named = [state for state in found if state.name]
    rows = [
        [
            state.name if state.shard is None else f"{state.name}, shard {state.shard}",
            str(state.cells),
            str(state.done),
            str(len(state.failed)),
            "" if state.to_do is None else str(state.to_do),
            "" if not state.seconds_left else _span(state.seconds_left),
            str(state.imported_files or ""),
        ]
        for state in named
    ]
    columns = ["experiment", "cells", "rounds done", "failed", "to do", "time left", "imported files"]
    if not any(state.imported_files for state in named):  # the names need the room
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    print_table(columns, rows, empty="no experiment")
    for state in found:
        for running in state.running:
            echo(f"{state.name}: {running.cell}, round {running.round}: running ({running.log})")
        for log in state.unreadable:
            echo(f"{log}: unreadable, of an unknown experiment; `decodebench collate {folder}` says why")
        for failed in state.failed[:_SHOWN]:
            echo(f"{state.name}: {failed.cell}, round {failed.round}: {failed.status} ({failed.log})")
        if len(state.failed) > _SHOWN:
            echo(f"{state.name}: {plural(len(state.failed) - _SHOWN, 'more failed round')}: see --json")
    return exit_codes.DONE


@click.group(context_settings=CONTEXT)
def experiments() -> None:
    """Rename, delete or restore experiments; `decodebench status` lists them."""


@experiments.command(context_settings=CONTEXT)
@click.argument("old", help="Name of the experiment.")
@click.argument("new", help="New name.")
@folder_argument
def rename(old: str, new: str, folder: Path) -> None:
    """Rename experiment OLD of DIR to NEW."""
    from ...api.experiments import rename as give

    count = give(folder, old, new)
    echo(f"{old} is now {new}: {plural(count, 'log')}")


@experiments.command(context_settings=CONTEXT)
@click.argument("name", help="Name of the experiment.")
@folder_argument
def delete(name: str, folder: Path) -> None:
    """Move experiment NAME to the recycle bin of DIR."""
    from ...api.experiments import delete as remove

    echo(f"{name} is in {remove(folder, name)}; `decodebench experiments restore {name}` brings it back")


@experiments.command(context_settings=CONTEXT)
@click.argument("name", help="Name of the experiment.")
@folder_argument
def restore(name: str, folder: Path) -> None:
    """Restore experiment NAME from the recycle bin of DIR."""
    from ...api.experiments import restore as bring_back

    echo(f"{name} is back from {bring_back(folder, name)}")


def _span(seconds: float) -> str:
    """Word a time in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((at for at, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount or first == 3)
