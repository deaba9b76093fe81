"""``collate``, ``plot``, ``export``, ``query``: from raw logs to the store, and from the store to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ... import defaults
from ..errors import UsageError, unknown_name
from .installed import installed_plugins
from .output import (
    CONTEXT,
    FilesRead,
    announce,
    experiment_option,
    folder_argument,
    json_option,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from ..records.store import Store


def open_store(folder: Path) -> Store:
    """Bring the store of ``folder`` up to date with its raw logs and open it for reading.

    Raises:
        UsageError: there is neither a raw log nor a store.
    """
    from ...collate.collate import open_current
    from ..records.store import Store

    if not folder.is_dir():
        raise UsageError(f"no results: folder {folder} does not exist; measure with `decodebench run -o {folder}`")
    if not (folder / "raw").is_dir():
        return Store.open(folder)
    with FilesRead() as progress:
        opened = open_current(folder, installed_plugins(), progress=progress, announce=announce)
    for problem in opened.problems:
        click.echo(f"{problem.file}: {problem.text}", err=True)
    return opened.store


@click.command(context_settings=CONTEXT)
@folder_argument
@click.option("--rebuild", is_flag=True, help="Drop the store and read every raw log anew.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Copy another tool's log, or a folder of them, into DIR first; may be repeated.",
)
@click.option("--format", "log_format", metavar="NAME", help="Format of what is imported.  [default: recognised]")
@click.option(
    "--experiment", metavar="NAME", help=f"Name for what is imported.  [default: {defaults.IMPORT_EXPERIMENT}]"
)
@click.option(
    "--columns",
    multiple=True,
    metavar="TARGET=COLUMN,...",
    help="What is imported is CSV: what its columns are, e.g. output_tokens=tokens,duration_s=seconds,backend=engine.",
)
@json_option
def collate(
    folder: Path,
    rebuild: bool,
    imports: tuple[Path, ...],
    log_format: str | None,
    experiment: str | None,
    columns: tuple[str, ...],
    as_json: bool,
) -> int:
    """Read the raw logs of a folder into its store."""
    from ...collate.collate import collate as read_logs
    from ...collate.parsers.columns import parse_columns
    from ...collate.parsers.foreign import Intake
    from ..measure.plan import check_experiment_name

    if (log_format or experiment or columns) and not imports:
        flag = "--format" if log_format else "--experiment" if experiment else "--columns"
        raise UsageError(f"{flag} is about what --import reads; give --import PATH too")
    if columns and log_format not in (None, "csv"):
        raise UsageError(f"--columns is about CSV; --format {log_format} says what its fields are by itself")
    if experiment is not None:
        check_experiment_name(experiment)
    if not imports and not folder.is_dir():
        raise UsageError(f"folder {folder} does not exist")
    told = parse_columns(columns) if columns else None
    intake = Intake(imports, experiment or defaults.IMPORT_EXPERIMENT, log_format, told) if imports else None
    with FilesRead() as progress:
        report = read_logs(
            folder, installed_plugins(), rebuild=rebuild, progress=progress, intake=intake, announce=announce
        )
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            click.echo(f"{problem.file}: {problem.text}", err=True)
        names = ("added", "updated", "unchanged", "removed", "problems")
        click.echo(", ".join(f"{len(getattr(report, name))} {name}" for name in names))
    return 1 if report.failed_imports else 0


@click.command(context_settings=CONTEXT)
@folder_argument
@experiment_option
@click.option("--figure", "ids", multiple=True, metavar="ID", help="Figure to draw; may be repeated. Default: all.")
@click.option("--list", "only_list", is_flag=True, help="List the figures.")
@click.option("--format", "fmt", type=click.Choice(["png", "svg", "pdf"]), default=defaults.FIGURE_FORMAT)
@click.option(
    "--style",
    "look",
    type=click.Choice(["page", "talk", "paper"]),
    default=defaults.FIGURE_STYLE,
    help="Size of figure and text: for a screen, a projector or a paper (no title, 300 dpi).",
)
@click.option("--to", "target", type=click.Path(path_type=Path), help="Folder for the files.  [default: DIR/figures]")
@click.option("--baseline", metavar="NAME", help="Cell, or value, that ratios are drawn against.")
@json_option
def plot(  # noqa: PLR0913 - one per flag
    folder: Path,
    experiment: str | None,
    ids: tuple[str, ...],
    only_list: bool,
    fmt: str,
    look: str,
    target: Path | None,
    baseline: str | None,
    as_json: bool,
) -> None:
    """Draw figures from the store."""
    from ...viz.plot import choose

    figures = choose(installed_plugins().figures.values(), ids or None)
    if only_list:
        listed = [{"id": figure.id, "title": figure.title, "needs": figure.needs} for figure in figures]
        if as_json:
            print_json(listed)
        else:
            print_table(["figure", "title", "needs"], [list(entry.values()) for entry in listed], empty="no figure")
        return
    from ...viz.plot import MissingDataError
    from .drawing import draw_all

    with open_store(folder) as store:
        try:
            written = draw_all(store, figures, experiment, baseline, target or folder / "figures", fmt, look)
        except MissingDataError as missing:
            if ids or not missing.written:
                raise
            click.echo(f"not drawn: {missing}", err=True)
            written = missing.written
    if as_json:
        print_json([str(path) for path in written])
        return
    for path in written:
        click.echo(path)


@click.command(context_settings=CONTEXT)
@folder_argument
@click.option(
    "--format",
    "name",
    metavar="NAME",
    default="csv",
    show_default=True,
    help="csv, parquet, json, llm-d, or what plugins add.",
)
@click.option("--experiment", metavar="NAME", help="Which experiment of the folder; default: all.")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Folder for the files.  [default: DIR]")
@click.option("--cumulative-text", is_flag=True, help="csv: whole text so far in every row, not the step's piece.")
@json_option
def export(
    folder: Path, name: str, experiment: str | None, target: Path | None, cumulative_text: bool, as_json: bool
) -> None:
    """Write the store as one CSV file per backend.

    --format writes Parquet, JSON or the files of another tool instead.
    """
    from ...collate.comparison.observations import choose_experiment
    from ...collate.exporters.csv_tables import export_csv

    exporters = installed_plugins().exporters
    if name not in exporters:
        raise unknown_name("export format", name, exporters)
    if cumulative_text and name != "csv":
        raise UsageError(f"--cumulative-text changes a column of --format csv; {name!r} has none such")
    with open_store(folder) as store:
        chosen = None if experiment is None else choose_experiment(store, experiment)
        if cumulative_text:
            written = export_csv(store, target or folder, experiment=chosen, cumulative_text=True)
        else:
            written = list(exporters[name].write(store, chosen, target or folder))
    if as_json:
        print_json([str(path) for path in written])
        return
    for path in written:
        click.echo(path)


@click.command(context_settings=CONTEXT)
@click.argument("sql")
@folder_argument
@json_option
def query(sql: str, folder: Path, as_json: bool) -> None:
    """Run SQL on the store.

    Tables: runs, samples, steps, sample_facts, sources, parity_scores, parity_cells; views: sample_metrics,
    run_metrics.
    """
    with open_store(folder) as store:
        columns, rows = store.query(sql)
    if as_json:
        print_json({"columns": columns, "rows": [[_plain(value) for value in row] for row in rows]})
        return
    print_table(columns, rows, empty="no row")


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)
