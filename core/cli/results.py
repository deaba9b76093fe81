"""``collate``, ``audit``, ``plot``, ``export``: from logs to the store, and from the store to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from ..errors import UsageError, plural
from . import exit_codes
from .guidance.completion import complete
from .guidance.sections import examples
from .output import (
    CONTEXT,
    FilesRead,
    announce,
    echo,
    experiment_option,
    folder_argument,
    json_option,
    print_json,
    print_listing,
)

if TYPE_CHECKING:
    from ...collate.preview import ImportedFile
    from ..api.results import Results


def open_results(folder: Path) -> Results:
    """Open the results of a folder; what is wrong with its logs goes to the error output.

    Where a log could not be read now, the command ends as failed whatever it shows: the figures lack that log.
    """
    from ..api.results import open as open_folder

    with FilesRead() as progress:
        results = open_folder(folder, progress=progress, announce=announce)
    for problem in results.problems:
        echo(f"{problem.file}: {problem.text}", err=True)
    if results.unread:
        click.get_current_context().meta[exit_codes.KEY] = exit_codes.FAILED
    return results


@click.command(
    context_settings=CONTEXT,
    epilog=examples(
        "decodebench collate merged --from shard1 --from shard2",
        "decodebench collate results --import vllm-bench.json --label stack=rocm6",
    ),
)
@folder_argument
@click.option("--rebuild", is_flag=True, help="Delete the store and read all raw logs again.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Copy a log of another tool, or a folder of logs, into DIR first; repeatable.",
)
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Copy the logs of another output folder, e.g. of a shard, into DIR first; repeatable.",
)
@click.option("--format", "log_format", metavar="NAME", help="Format of the imported logs.  [default: detected]")
@click.option(
    "--experiment", metavar="NAME", help=f"Experiment for the imported logs.  [default: {defaults.IMPORT_EXPERIMENT}]"
)
@click.option(
    "--columns",
    multiple=True,
    metavar="TARGET=COLUMN,...",
    help="Column mapping of an imported CSV file, e.g. output_tokens=tokens,backend=engine.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fact about the imported runs that is not in their logs, e.g. stack=rocm6; {file} in VALUE becomes the name "
    "of the log, {folder} that of its folder; repeatable.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Import nothing; list what would be imported from each file, what would not be, and why.",
)
@json_option
def collate(folder: Path, rebuild: bool, as_json: bool, **flags: Any) -> int:  # noqa: ANN401 - those of --import
    """Read the raw logs of a folder into its store."""
    from ...collate.parsers.columns import parse_columns
    from ...collate.parsers.foreign import Intake
    from ...collate.parsers.labels import parse_labels
    from ..api.results import collate as read_logs
    from ..measure.plan import check_experiment_name

    imports, log_format, columns = flags["imports"], flags["log_format"], flags["columns"]
    experiment = flags["experiment"]
    given = [name for name in ("log_format", "experiment", "columns", "labels", "dry_run") if flags[name]]
    if given and not imports:
        flag = {"log_format": "--format", "labels": "--label", "dry_run": "--dry-run"}.get(given[0], f"--{given[0]}")
        raise UsageError(f"{flag} needs --import PATH", code="missing-flag")
    if columns and log_format not in (None, "csv"):
        raise UsageError(
            f"--columns applies to CSV only, not to --format {log_format}",
            code="conflicting-flags",
        )
    if experiment is not None:
        check_experiment_name(experiment)
    if flags["sources"]:
        if flags["dry_run"]:
            raise UsageError("--dry-run previews --import only: leave out --from", code="conflicting-flags")
        _gather(folder, flags["sources"])
    if not imports and not folder.is_dir():
        raise UsageError(f"folder {folder} does not exist", code="folder-missing")
    told = parse_columns(columns) if columns else None
    labels = parse_labels(flags["labels"])
    name = experiment or defaults.IMPORT_EXPERIMENT
    intake = Intake(imports, name, log_format, told, labels) if imports else None
    if intake and flags["dry_run"]:
        from ..api.imports import preview

        with FilesRead() as progress:
            files = preview(intake, progress)
        print_files(files, as_json=as_json)
        return exit_codes.DONE
    with FilesRead() as progress:
        report = read_logs(folder, rebuild=rebuild, progress=progress, intake=intake, announce=announce)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            echo(f"{problem.file}: {problem.text}", err=True)
        counts = [f"{len(getattr(report, name))} {name}" for name in ("added", "updated", "unchanged", "removed")]
        echo(", ".join([*counts, plural(len(report.problems), "problem")]))
    return exit_codes.FAILED if report.failed_imports or report.unread else exit_codes.DONE


def _gather(folder: Path, sources: Sequence[Path]) -> None:
    from ..api.gathering import gather

    found = gather(folder, sources)
    echo(f"{plural(len(found.copied), 'file')} copied, {found.kept} already there", err=True)
    for log in found.unfinished:
        echo(f"{log}: left out, its round has no end yet", err=True)


@click.command(
    context_settings=CONTEXT,
    epilog=examples("decodebench plot --list", "decodebench plot --figure roofline --style paper --format pdf"),
)
@folder_argument
@experiment_option
@click.option(
    "--figure",
    "ids",
    multiple=True,
    metavar="ID",
    shell_complete=complete("figures"),
    help="Figure to draw; repeatable.  [default: all]",
)
@click.option("--list", "only_list", is_flag=True, help="List the figures.")
@click.option(
    "--format", "fmt", type=click.Choice(["png", "svg", "pdf"]), default=defaults.FIGURE_FORMAT, help="File format."
)
@click.option(
    "--style",
    "look",
    type=click.Choice(["page", "talk", "paper"]),
    default=defaults.FIGURE_STYLE,
    help="Sizes of figure and text: for a screen, for a projector, or for a paper (no title, 300 dpi).",
)
@click.option(
    "--to", "target", type=click.Path(path_type=Path), help="Output folder of the figures.  [default: DIR/figures]"
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Baseline of ratios: a cell's label or a value of a dimension.  [default: the first cell]",
)
@json_option
def plot(folder: Path, ids: tuple[str, ...], as_json: bool, **flags: Any) -> None:  # noqa: ANN401 - the other flags
    """Draw figures from the store."""
    from ...viz.plot import choose
    from ..api.plugins import installed_plugins

    figures = choose(installed_plugins().figures.values(), ids or None)
    if flags["only_list"]:
        listed = [{"id": figure.id, "title": figure.title, "needs": figure.needs} for figure in figures]
        print_listing(listed, ["figure", "title", "needs"], as_json=as_json, empty="no figure")
        return
    with open_results(folder) as results:
        comparison = results.compare(experiment=flags["experiment"], baseline=flags["baseline"])
        drawn = results.draw(ids or None, comparison, to=flags["target"], fmt=flags["fmt"], look=flags["look"])
    if drawn.missing and (ids or not drawn.files):
        raise UsageError(drawn.missing, code="data-missing")
    if drawn.missing:
        echo(f"not drawn: {drawn.missing}", err=True)
    print_paths(drawn.files, as_json=as_json)


@click.command(
    context_settings=CONTEXT,
    epilog=examples("decodebench export", "decodebench export --format json --to results.json"),
)
@folder_argument
@click.option(
    "--format",
    "name",
    metavar="NAME",
    default="csv",
    shell_complete=complete("formats"),
    help="csv, parquet, json, llm-d, or a format of a plugin.",
)
@click.option("--experiment", metavar="NAME", help="Experiment in DIR.  [default: all]")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="Output folder, or a file name if the format writes a single file, e.g. results.json.  [default: DIR]",
)
@click.option(
    "--cumulative-text", is_flag=True, help="With csv: the text so far in every row, instead of the text of the step."
)
@json_option
def export(
    folder: Path, name: str, experiment: str | None, target: Path | None, cumulative_text: bool, as_json: bool
) -> None:
    """Export the store, by default as one CSV file per backend.

    --format selects Parquet, JSON or the files of another tool. A missing folder of --to is created.
    """
    with open_results(folder) as results:
        written = results.export(name, experiment, to=target, cumulative_text=cumulative_text)
    print_paths(written, as_json=as_json)


def print_paths(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print the files that were written."""
    if as_json:
        print_json([str(path) for path in paths])
        return
    for path in paths:
        echo(path)


@click.command(context_settings=CONTEXT)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(path_type=Path, exists=True),
    help="Log, or folder of logs, of any format that `collate --import` reads.",
)
@click.option("--details", is_flag=True, help="Also show what each check found in each cell.")
@json_option
def audit(paths: tuple[Path, ...], details: bool, as_json: bool) -> None:
    """Check results of other tools and list the findings; nothing is written."""
    from ..api.imports import audit as check

    with FilesRead() as progress:
        found = check(paths, progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    for finding in found.findings:
        echo(finding.line)
        for text in finding.details if details else ():
            echo(f"  {text}")
    for file in found.files:
        for text in file.left_out:
            echo(f"{file.file}: {text}", err=True)
    read = [file for file in found.files if file.format]
    runs = sum(file.runs for file in read)
    echo(f"{plural(len(found.findings), 'finding')} in {plural(runs, 'run')} of {plural(len(read), 'file')}")


def print_files(files: Sequence[ImportedFile], *, as_json: bool) -> None:
    """Print what an import makes of each file."""
    if as_json:
        print_json([file.model_dump(mode="json") for file in files])
        return
    for file in files:
        if file.format is None:
            echo(f"{file.file}: refused: {'; '.join(file.left_out)}")
            continue
        what = f"{file.format} {', '.join(file.versions)}".rstrip()
        echo(f"{file.file}: {what}: {plural(file.runs, 'run')}, {file.failed} failed, {plural(file.samples, 'sample')}")
        for text in file.left_out:
            echo(f"  {text}")
