"""``compare``, ``show`` and ``findings``: the answer, for eyes, for programs and for continuous integration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from . import exit_codes
from .guidance.completion import complete
from .guidance.sections import examples
from .output import (
    CONTEXT,
    console,
    echo,
    experiment_option,
    folder_argument,
    json_option,
    options,
    print_json,
    print_listing,
)
from .results import open_results

if TYPE_CHECKING:
    from ..api.comparison import Comparison


class Share(click.ParamType[float]):
    """A share such as ``2%``, ``1pp`` or ``0.02``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Turn the text into a number between 0 and 1."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|pp)?\s*", str(value))
        if not found:
            self.fail(f"{value!r} is not a share; write e.g. 2%, 1pp or 0.02", param, ctx)
        share = float(found[1]) / (100 if found[2] else 1)
        if share >= 1:
            self.fail(f"{value!r} must be below 100 %", param, ctx)
        return share


comparison_options = options(
    folder_argument,
    experiment_option,
    click.option(
        "--by",
        metavar="DIMENSION",
        help="Compare by backend (formats of equal width side by side), quantisation, device, model or an option.",
    ),
    click.option(
        "--baseline", metavar="NAME", help="Baseline: a row label or a value of --by.  [default: the first cell]"
    ),
    click.option(
        "--metric",
        metavar="NAME",
        shell_complete=complete("metrics"),
        help="Metric to compare, see docs/metrics.md.  [default: decode_tokens_per_s, or the first speed in the logs]",
    ),
    click.option(
        "--min-effect",
        type=Share(),
        default=defaults.MIN_EFFECT,
        help="Differences below this count as equivalent.",
    ),
    click.option(
        "--over",
        type=click.Choice(["rounds", "prompts"]),
        default="rounds",
        help="What intervals generalise to: other rounds with the same prompts, or other prompts too.",
    ),
    click.option("--steady-state", is_flag=True, help="Exclude the first sample of every round from timings."),
)


@click.command(
    context_settings=CONTEXT,
    epilog=examples(
        "decodebench compare",
        "decodebench compare --by quantisation --metric ttft_s",
        "decodebench compare --fail-if-slower 5% --fail-if-outputs-differ",
    ),
)
@comparison_options
@click.option(
    "--fail-if-slower",
    type=Share(),
    metavar="SHARE",
    help="Exit 3 if a ratio's interval ends below 1 - SHARE, e.g. 5%.",
)
@click.option(
    "--fail-if-accuracy-drops",
    type=Share(),
    metavar="SHARE",
    help="Exit 3 if accuracy drops by SHARE or more, e.g. 1pp.",
)
@click.option("--fail-if-outputs-differ", is_flag=True, help="Exit 3 if greedy outputs differ beyond numerical ties.")
@json_option
def compare(
    fail_if_slower: float | None,
    fail_if_accuracy_drops: float | None,
    fail_if_outputs_differ: bool,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - the flags of comparison_options
) -> int:
    """Compare cells: ratios with intervals, verdicts, parity and accuracy.

    Ratios are relative to the baseline; above 1 is better for every metric.
    """
    from ...collate.comparison.gates import Gates

    comparison = _compared(**chosen)
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        from ...viz.terminal.tables import comparison_view

        console().print(comparison_view(comparison))
    tripped = Gates(fail_if_slower, fail_if_accuracy_drops, fail_if_outputs_differ).tripped(comparison)
    for line in tripped:
        echo(f"decodebench: gate: {line}", err=True)
    return exit_codes.GATE if tripped else exit_codes.DONE


def _compared(folder: Path, **chosen: Any) -> Comparison:  # noqa: ANN401 - the other flags of comparison_options
    with open_results(folder) as results:
        return results.compare(**chosen)


@click.command(context_settings=CONTEXT)
@comparison_options
@json_option
def show(folder: Path, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the flags of comparison_options
    """Show a comparison with latency, memory and the trend over rounds."""
    with open_results(folder) as results:
        comparison = results.compare(**chosen)
        if as_json:
            print_json(comparison.model_dump(mode="json"))
            return
        from ...viz.terminal.sparkline import courses
        from ...viz.terminal.tables import show_view

        console().print(show_view(comparison, courses(results.store, comparison)))


@click.command(context_settings=CONTEXT)
@folder_argument
@experiment_option
@click.option("--list", "only_list", is_flag=True, help="List the checks.")
@click.option("--details", is_flag=True, help="Also show what each check found in each cell.")
@json_option
def findings(folder: Path, experiment: str | None, only_list: bool, details: bool, as_json: bool) -> None:
    """Check an experiment for measurement problems and list the findings."""
    if only_list:
        _list_checks(as_json)
        return
    with open_results(folder) as results:
        name = results.choose(experiment)
        found = results.findings(name)
    if as_json:
        print_json({"experiment": name, "findings": [finding.model_dump(mode="json") for finding in found]})
        return
    for finding in found:
        echo(finding.line)
        for text in finding.details if details else ():
            echo(f"  {text}")
    if not found:
        echo(f"no findings in experiment {name!r}")


def _list_checks(as_json: bool) -> None:
    from ..api.inventory.listings import finding_checks

    print_listing(finding_checks(), ["check", "looks for", "from"], as_json=as_json, empty="no check")
