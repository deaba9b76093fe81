"""``bundle`` and ``rerun``: an experiment in one file, and whether it comes out the same again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import plural
from ...measure.progress import Progress
from .. import exit_codes
from ..output import CONTEXT, console, echo, experiment_option, folder_argument, json_option, print_json, print_table
from ..plan_flags import busy_options, quiet_option, when_busy
from ..results import open_results
from ..run import echo_failures, exit_code_of

if TYPE_CHECKING:
    from ....collate.comparison.reproduction import CellReproduction, Reproduction


@click.command(context_settings=CONTEXT)
@folder_argument
@experiment_option
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Bundle to write.  [default: DIR/EXPERIMENT.zip]",
)
@click.option("--with-names", is_flag=True, help="Keep host names, user names and home folders.")
@json_option
def bundle(folder: Path, experiment: str | None, target: Path | None, with_names: bool, as_json: bool) -> None:
    """Pack an experiment of DIR into one file that others can measure again.

    The file has the plan, the trace or the problems that it reads from a file, the logs, the environment and the hashes
    of models and outputs, but no weights and nothing that looks like a secret. Host and user names are replaced by
    hashes.
    """
    from ...api.bundles.pack import bundle as pack

    with open_results(folder) as results:
        name = results.choose(experiment)
        made = pack(results, target or folder / f"{name}.zip", name, with_names=with_names)
    for log in made.left_out:
        echo(f"{log}: left out, it has no end or is of another tool", err=True)
    for line in made.missing:
        echo(f"{line}; it is not in the bundle, and a rerun needs it", err=True)
    if as_json:
        print_json({"file": str(made.path), **made.manifest.model_dump(mode="json")})
        return
    removed = made.manifest.secrets_removed
    cells, files = plural(len(made.manifest.cells), "cell"), plural(len(made.manifest.files), "file")
    echo(f"{made.path}: {cells}, {files}, {plural(removed, 'secret')} removed")


@click.command(context_settings=CONTEXT)
@click.argument(
    "bundle_file",
    metavar="BUNDLE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File that `decodebench bundle` wrote.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Output folder.  [default: the name of BUNDLE with -rerun in place of .zip]",
)
@click.option("--allow-code-execution", is_flag=True, help="Allow tasks to run code that a model wrote, in a sandbox.")
@busy_options
@quiet_option
@json_option
def rerun(bundle_file: Path, output: Path | None, as_json: bool, **flags: Any) -> int:  # noqa: ANN401 - other flags
    """Measure BUNDLE again and test whether its outputs and ratios are reproduced.

    Exit code 3 if an output or a ratio differs, 1 if a round failed or nothing could be compared.
    """
    from ...api.bundles.rerun import rerun as measure_again

    done = measure_again(
        bundle_file,
        output or bundle_file.with_name(f"{bundle_file.stem}-rerun"),
        allow_code_execution=flags["allow_code_execution"],
        when_busy=when_busy(flags),
        progress=Progress(console(stderr=True), is_quiet=flags["quiet"]),
    )
    made, report = done.reproduction, done.experiment.report
    if as_json:
        print_json(None if made is None else made.model_dump(mode="json"))
    elif made is not None:
        _print(made)
    echo_failures(report)
    code = exit_code_of(report)
    if code == exit_codes.DONE and (made is None or not made.is_tested):
        echo("decodebench: nothing could be compared", err=True)
        return exit_codes.FAILED
    if code == exit_codes.DONE and made is not None and not made.is_reproduced:
        echo("decodebench: gate: outputs or ratios differ from those of the bundle", err=True)
        return exit_codes.GATE
    return code


def _print(made: Reproduction) -> None:
    rows = [
        [
            one.cell,
            f"{one.outputs} {one.compared - len(one.differing)}/{one.compared}" if one.compared else one.outputs,
            *_ratios(one),
            one.ratio,
        ]
        for one in made.cells
    ]
    print_table(["cell", "outputs", "ratio then", "now", "change", "verdict"], rows, empty="no cell")
    where = "on the same host" if made.is_same_host else "on another host: outputs may differ by rounding"
    echo(f"{made.experiment} measured again as {made.again}, {where}; ratios of {made.metric}, Welch's test")


def _ratios(one: CellReproduction) -> list[str]:
    if one.ratio == "baseline":
        return ["", "", ""]
    values = ["n/a" if ratio.value is None else f"{ratio.value:.3f}" for ratio in (one.before, one.after, one.change)]
    if one.change.low is not None:
        values[2] += f" ({one.change.low:.3f}-{one.change.high:.3f})"
    return values
