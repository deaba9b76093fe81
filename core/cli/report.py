"""``report``: an experiment as one HTML page, as slides, or as Markdown for a log."""

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
    from ...collate.comparison.result import Comparison
    from ..records.store import Store

F = TypeVar("F", bound=Callable[..., Any])

_PAGE, _SLIDES = "report.html", "report.pdf"


def _file_option(flag: str, name: str, what: str) -> Callable[[F], F]:
    """Add a flag that may name its file: ``--html`` writes DIR/report.html, ``--html=PATH`` another one."""
    text = f"Write {what}.  [default file: DIR/{name}]"
    return click.option(flag, is_flag=False, flag_value="", metavar="[PATH]", help=text)


@click.command(context_settings=CONTEXT)
@comparison_options
@_file_option("--html", _PAGE, "one self-contained HTML page; this is the default")
@_file_option("--slides", _SLIDES, "slides as PDF, their Typst sources in a folder beside them")
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Typst file for the slides, instead of the built-in.",
)
@click.option("--log-entry", is_flag=True, help="Print the experiment as Markdown for a log instead.")
@json_option
def report(
    html: str | None,
    slides: str | None,
    template: Path | None,
    log_entry: bool,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - compare's flags
) -> None:
    """Write a self-contained HTML page about an experiment, or slides, or both."""
    folder: Path = chosen["folder"]
    if log_entry and (html is not None or slides is not None or as_json):
        raise UsageError("--log-entry prints Markdown: it goes with none of --html, --slides and --json")
    if template is not None and slides is None:
        raise UsageError("--template is for the slides; give --slides too")
    page = _target(folder, "--html", html or "", _PAGE)
    deck = _target(folder, "--slides", slides or "", _SLIDES)
    comparison = compute(**chosen)
    if log_entry:
        _print_log_entry(folder, comparison)
        return
    written: dict[str, str] = {}
    with open_store(folder) as store:
        if comparison.steady_state:  # figures then show what the comparison says
            store.leave_out_first_samples()
        if html is not None or slides is None:
            written["report"] = str(_write_page(store, comparison, page))
        if slides is not None:
            for path in written.values():  # the page is there even where the slides fail
                click.echo(path, err=as_json)
            written["slides"] = str(_write_slides(store, comparison, deck, template))
    if as_json:
        print_json(written)
        return
    click.echo(list(written.values())[-1])


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
    from ...collate.comparison.reproduce import plan_toml
    from ...viz.report import write_report
    from .installed import installed_plugins

    figures = list(installed_plugins().figures.values())
    plan = plan_toml(store, comparison.experiment)
    return write_report(store, comparison, path, figures=figures, reproduce=plan)


def _write_slides(store: Store, comparison: Comparison, path: Path, template: Path | None) -> Path:
    """Write the slides and return their path; the sources of the default ones go to ``slides``, of others by name."""
    from ...viz.slides import TEMPLATE, write_slides
    from .installed import installed_plugins

    if path.suffix.lower() != ".pdf":
        raise UsageError(f"--slides writes a PDF: {path} must end in .pdf")
    sources = path.with_name("slides" if path.name == _SLIDES else f"{path.stem}-slides")
    figures = list(installed_plugins().figures.values())
    return write_slides(store, comparison, path, sources, figures=figures, template=template or TEMPLATE)


def _print_log_entry(folder: Path, comparison: Comparison) -> None:
    from ...collate.comparison.log_entry import log_entry

    with open_store(folder) as store:
        click.echo(log_entry(store, comparison), nl=False)
