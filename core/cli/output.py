"""Printing tables and JSON; every listing goes through here, so that ``--json`` is everywhere the same."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from ..foreign_text import printable, printable_json
from .settings import VARIABLE_PREFIX

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Decorator = Callable[[Any], Any]

_SHOWN_AFTER_S = 0.2
_WIDTH_OF_PIPES = 160
_LEAST_WIDTH = 20  # of anything that is printed; the help of click needs more
_DIGITS = 4  # of COLUMNS that count
_MARGIN_OF_HELP = 2

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": VARIABLE_PREFIX, "show_default": True}


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
folder_argument = click.argument(
    "folder",
    metavar="[DIR]",
    type=click.Path(path_type=Path, file_okay=False),
    default=defaults.OUTPUT,
    help=f"Output folder.  [default: {defaults.OUTPUT}]",
)
experiment_option = click.option("--experiment", metavar="NAME", help="Experiment in DIR.  [default: the latest]")


def options(*decorators: Decorator) -> Decorator:
    """Return a decorator that adds several options to a command, listed in this order by its help."""

    def add(command: Any) -> Any:  # noqa: ANN401 - a function or a command, as click has it
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return add


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text, with names from logs in it made printable; every command prints through here or ``console``."""
    click.echo(printable(str(text)), err=err, nl=nl)


def announce(text: str) -> None:
    """Say one line on the error output, before something that takes its time."""
    echo(text, err=True)


class FilesRead:
    """Counts files on the error output while they are read; shows nothing where that is no terminal, or soon done."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._display: Progress | None = None

    def __call__(self, done: int, total: int, name: str) -> None:
        """Tell that ``done`` of ``total`` files are read and ``name`` is next."""
        if self._display is None:
            if not sys.stderr.isatty() or time.monotonic() - self._begun < _SHOWN_AFTER_S:
                return
            from rich.progress import Progress, TextColumn

            words = TextColumn("{task.completed} of {task.total} logs read")
            self._display = Progress(words, console=console(stderr=True), transient=True)
            self._display.add_task("", total=total)
            self._display.start()
        self._display.update(self._display.task_ids[0], completed=done, total=total)

    def __enter__(self) -> FilesRead:
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text, never markup; off a terminal it is wide, unless COLUMNS says how wide."""
    from .printing_console import PrintingConsole

    made = PrintingConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    asked = _columns()
    if asked is not None or not made.is_terminal:
        made.width = asked or _WIDTH_OF_PIPES
    made.width = max(made.width, _LEAST_WIDTH)
    return made


def _columns() -> int | None:
    """Return what COLUMNS asks for; None where it is unset, 0 or nonsense."""
    text = os.environ.get("COLUMNS", "")
    return int(text[:_DIGITS]) or None if text.isascii() and text.isdigit() else None


def follow_columns() -> None:
    """Let COLUMNS say how wide help is, too; click by itself folds it at 80 columns."""
    asked = _columns()
    if asked is not None:
        click.formatting.FORCED_WIDTH = max(asked, _LEAST_WIDTH) - _MARGIN_OF_HELP


def print_json(content: object) -> None:
    """Print JSON for other programs."""
    click.echo(printable_json(json.dumps(content, indent=2, ensure_ascii=False)))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the sentence ``empty`` where there is no row; row by row where its words need more columns."""
    if not rows:
        echo(empty)
        return
    from rich import box
    from rich.text import Text

    from ...viz.terminal.fitting import FittingTable

    table = FittingTable(*map(printable, columns), box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text("" if value is None else printable(str(value))) for value in row))
    console().print(table)


def print_listing(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows as JSON, or as a table whose columns are their values in order."""
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [list(row.values()) for row in rows], empty=empty)
