"""``report``: an experiment as one HTML page, as slides, or as Markdown for a log."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .compare import comparison_options
from .guidance.sections import examples
from .output import CONTEXT, Decorator, echo, json_option, print_json
from .results import open_results

_PAGE, _SLIDES = "report.html", "report.pdf"


def _file_option(flag: str, name: str, what: str) -> Decorator:
    """Add a flag that may name its file: ``--html`` writes DIR/report.html, ``--html=PATH`` another one."""
    text = f"Write {what}.  [default file: DIR/{name}]"
    return click.option(flag, is_flag=False, flag_value="", metavar="[PATH]", help=text)


@click.command(
    context_settings=CONTEXT,
    epilog=examples("decodebench report --open", "decodebench report --html --slides=talk.pdf --by quantisation"),
)
@comparison_options
@_file_option("--html", _PAGE, "the HTML page, which is the default")
@_file_option("--slides", _SLIDES, "slides as PDF, with their Typst source in a folder next to it")
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Typst template for the slides, instead of the built-in one.",
)
@click.option(
    "--anonymise/--with-host",
    default=True,
    help="Remove names of hosts, users and their folders from page, slides and log entry, or keep them.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the written files in the browser.")
@click.option("--all-figures", is_flag=True, help="With --slides: one slide per figure, instead of five figures.")
@click.option("--log-entry", is_flag=True, help="Print a Markdown log entry instead.")
@json_option
def report(folder: Path, as_json: bool, **flags: Any) -> None:  # noqa: ANN401 - the other flags
    """Write an experiment as a self-contained HTML page, as slides, or as both."""
    html, slides, template, log_entry = (flags.pop(name) for name in ("html", "slides", "template", "log_entry"))
    anonymise, is_opened, all_figures = (flags.pop(name) for name in ("anonymise", "is_opened", "all_figures"))
    if log_entry and (html is not None or slides is not None or as_json or is_opened):
        raise UsageError(
            "--log-entry prints Markdown: it cannot be combined with --html, --slides, --open and --json",
            code="conflicting-flags",
        )
    if (template is not None or all_figures) and slides is None:
        flag = "--all-figures" if all_figures else "--template"
        raise UsageError(f"{flag} needs --slides", code="missing-flag")
    page = _target(folder, "--html", html or "", _PAGE)
    deck = _target(folder, "--slides", slides or "", _SLIDES)
    written: dict[str, str] = {}
    with open_results(folder) as results:
        comparison = results.compare(**flags)
        if log_entry:
            echo(results.log_entry(comparison, anonymise=anonymise), nl=False)
            return
        if html is not None or slides is None:
            written["report"] = str(results.report(comparison, to=page, anonymise=anonymise))
        if slides is not None:
            for path in written.values():  # the page is there even where the slides fail
                echo(path, err=as_json)
            chosen = {"template": template, "anonymise": anonymise, "all_figures": all_figures}
            written["slides"] = str(results.slides(comparison, to=deck, **chosen))
    if as_json:
        print_json(written)
    else:
        echo(list(written.values())[-1])
    for path in written.values() if is_opened else ():
        if not webbrowser.open(Path(path).absolute().as_uri()):
            echo(f"no browser found here; open {path} in one", err=True)


def _target(folder: Path, flag: str, given: str, name: str) -> Path:
    """Return the file that a flag names, or the default one.

    Raises:
        UsageError: the flag names a folder, most likely DIR itself.
    """
    if given and Path(given).is_dir():
        raise UsageError(
            f"{flag} takes a file and {given} is a folder: `decodebench report {given} {flag}` writes {name} into it",
            code="bad-value",
        )
    return Path(given) if given else folder / name
