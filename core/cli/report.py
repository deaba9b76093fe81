"""``report``: an experiment as one HTML page, or as Markdown for a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from .compare import comparison_options, compute
from .output import CONTEXT, json_option, print_json
from .results import open_store

if TYPE_CHECKING:
    from ...collate.comparison import Comparison
    from ..store import Store

F = TypeVar("F", bound=Callable[..., Any])

_PAGE = "report.html"


def _file_option(flag: str, name: str, what: str) -> Callable[[F], F]:
    """Add a flag that may name its file: ``--html`` writes DIR/report.html, ``--html=PATH`` another one."""
    text = f"Write {what}.  [default file: DIR/{name}]"
    return click.option(flag, is_flag=False, flag_value="", metavar="[PATH]", help=text)


@click.command(context_settings=CONTEXT)
@comparison_options
@_file_option("--html", _PAGE, "one self-contained HTML page; this is the default")
@click.option("--log-entry", is_flag=True, help="Print the experiment as Markdown for a log instead.")
@json_option
def report(html: str | None, log_entry: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - compare's flags
    """Write one self-contained HTML page about an experiment."""
    folder: Path = chosen["folder"]
    if log_entry and (html is not None or as_json):
        raise UsageError("--log-entry prints Markdown: it goes with neither --html nor --json")
    page = _target(folder, "--html", html or "", _PAGE)
    comparison = compute(**chosen)
    if log_entry:
        _print_log_entry(folder, comparison)
        return
    with open_store(folder) as store:
        written = {"report": _write_page(store, comparison, page)}
    if as_json:
        print_json({kind: str(path) for kind, path in written.items()})
        return
    for path in written.values():
        click.echo(path)


def _target(folder: Path, flag: str, given: str, name: str) -> Path:
    """Return the file that a flag names, or the default one.

    Raises:
        UsageError: the flag names a folder, most likely DIR itself.
    """
    if given and Path(given).is_dir():
        raise UsageError(
            f"{flag} takes a file and {given} is a folder: `decodebench report {given} {flag}` writes {name} into it"
        )
    return Path(given) if given else folder / name


def _write_page(store: Store, comparison: Comparison, path: Path) -> Path:
    from ...collate.reproduce import plan_toml
    from ...viz.report import write_report
    from ..registry import Registry

    figures = list(Registry().figures.values())
    plan = plan_toml(store, comparison.experiment)
    return write_report(store, comparison, path, figures=figures, reproduce=plan)


def _print_log_entry(folder: Path, comparison: Comparison) -> None:
    from ...collate.log_entry import log_entry

    with open_store(folder) as store:
        click.echo(log_entry(store, comparison), nl=False)
