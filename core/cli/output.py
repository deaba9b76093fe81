"""Printing tables and JSON; every listing goes through here, so that ``--json`` is everywhere the same."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ... import defaults
from .settings import VARIABLE_PREFIX

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN_EVERY_S = 0.2

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": VARIABLE_PREFIX}


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def folder_argument(command: F) -> F:
    """Add the positional output folder DIR."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.argument("folder", metavar="[DIR]", type=kind, default=defaults.OUTPUT)(command)


def experiment_option(command: F) -> F:
    """Add ``--experiment``."""
    return click.option("--experiment", metavar="NAME", help="Which experiment of the folder; default: the latest.")(
        command
    )


def announce(text: str) -> None:
    """Say one line on the error output, before something that takes its time."""
    click.echo(text, err=True)


class FilesRead:
    """Counts files on the error output while they are read; shows nothing where that is no terminal."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._last = time.monotonic()
        self._has_line = False

    def __call__(self, done: int, total: int, name: str) -> None:
        """Tell that ``done`` of ``total`` files are read and ``name`` is next."""
        now = time.monotonic()
        if self._is_shown and now - self._last > _SHOWN_EVERY_S:
            click.echo(f"\r{done} of {total} logs read", nl=False, err=True)
            self._last, self._has_line = now, True

    def __enter__(self) -> FilesRead:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_line:
            click.echo("\r\033[K", nl=False, err=True)


def console(*, stderr: bool = False) -> Console:
    """Return a console that keeps whole lines when its output is no terminal."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, 160)
    return made


def print_json(content: object) -> None:
    """Print JSON for other programs."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the sentence ``empty`` where there is no row."""
    if not rows:
        click.echo(empty)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console().print(table)
