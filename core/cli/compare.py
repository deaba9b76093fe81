"""``compare``, ``show`` and ``findings``: the answer, for eyes, for programs and for continuous integration."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ... import defaults
from .installed import installed_plugins
from .output import CONTEXT, console, experiment_option, folder_argument, json_option, print_json, print_table
from .results import open_store

if TYPE_CHECKING:
    from ...collate.comparison.result import Comparison

F = TypeVar("F", bound=Callable[..., Any])

EXIT_GATE = 3
_ROUNDING = 1e-9  # 57 of 100 right against 56 is a difference of 0.01, whatever the last bit says


class Share(click.ParamType[float]):
    """A share such as ``2%``, ``1pp`` or ``0.02``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Turn the text into a number between 0 and 1."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|pp)?\s*", str(value))
        if not found:
            self.fail(f"{value!r} is no share; write e.g. 2%, 1pp or 0.02", param, ctx)
        share = float(found[1]) / (100 if found[2] else 1)
        if share >= 1:
            self.fail(f"{value!r} must be below 100 %", param, ctx)
        return share


def comparison_options(command: F) -> F:
    """Add the flags that choose what is compared."""
    options = [
        folder_argument,
        experiment_option,
        click.option(
            "--by",
            metavar="DIMENSION",
            help="backend (formats of equal width side by side), quantisation, device, model or an option.",
        ),
        click.option("--baseline", metavar="NAME", help="Row label, or value of --by; default: the first cell."),
        click.option(
            "--metric",
            metavar="NAME",
            help="Metric of the ratios.  [default: decode_tokens_per_s, or the first speed that the logs tell]",
        ),
        click.option(
            "--min-effect",
            type=Share(),
            default=defaults.MIN_EFFECT,
            show_default=True,
            help="Smallest effect that counts.",
        ),
        click.option(
            "--steady-state", is_flag=True, help="Leave the first measured sample of every round out of times."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def compute(folder: Path, **chosen: Any) -> Comparison:  # noqa: ANN401 - the other flags of comparison_options
    """Bring the store up to date and compare."""
    from ...collate.comparison.compare import compare as compare_cells

    with open_store(folder) as store:
        return compare_cells(store, **chosen, further=lambda: installed_plugins().findings.values())


@click.command(context_settings=CONTEXT)
@comparison_options
@click.option("--fail-if-slower", type=Share(), metavar="SHARE", help="Exit 3 if a cell is surely slower by so much.")
@click.option("--fail-if-accuracy-drops", type=Share(), metavar="SHARE", help="Exit 3 if accuracy falls by so much.")
@click.option("--fail-if-outputs-differ", is_flag=True, help="Exit 3 if greedy outputs differ other than by ties.")
@json_option
def compare(
    fail_if_slower: float | None,
    fail_if_accuracy_drops: float | None,
    fail_if_outputs_differ: bool,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401 - the flags of comparison_options, handed on to compute
) -> int:
    """Compare cells with intervals, verdicts, parity and accuracy.

    Ratios are against the baseline; above 1 is better whatever the metric. `--fail-if` gates end with exit code 3.
    """
    comparison = compute(**chosen)
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        from ...viz.terminal.tables import comparison_view

        console().print(comparison_view(comparison))
    tripped = gates(comparison, fail_if_slower, fail_if_accuracy_drops, fail_if_outputs_differ)
    for line in tripped:
        click.echo(f"decodebench: gate: {line}", err=True)
    return EXIT_GATE if tripped else 0


def gates(comparison: Comparison, slower: float | None, accuracy_drop: float | None, outputs_differ: bool) -> list[str]:
    """Return a line for every gate that tripped.

    A cell fails on speed when even the upper end of its ratio's interval lies below ``1 - slower``, and on accuracy
    when the measured drop is at least ``accuracy_drop``. What could not be compared trips a gate as well: a gate
    that cannot tell must not pass.
    """
    lines = []
    for row in comparison.rows[1:]:
        name, ratio = row.cell.label, row.ratio
        if slower is not None and row.verdict == "not comparable":
            lines.append(f"{name}: speed cannot be compared with {comparison.baseline}")
        elif slower is not None and ratio.high is not None and ratio.high < 1 - slower:
            lines.append(f"{name}: {comparison.metric} ratio {ratio.value:.3f}, at most {ratio.high:.3f}")
        if accuracy_drop is not None:
            lines += _accuracy_gate(row, accuracy_drop)
        if outputs_differ and row.parity.verdict in ("differs", "not comparable"):
            what = row.parity.reason or f"{row.parity.compared - row.parity.identical} of {row.parity.compared} differ"
            lines.append(f"{name}: outputs: {what}")
    return lines


def _accuracy_gate(row: Any, drop: float) -> list[str]:  # noqa: ANN401 - ComparisonRow, imported lazily
    accuracy = row.accuracy
    if accuracy is None or accuracy.difference is None or accuracy.difference.value is None:
        return [f"{row.cell.label}: accuracy cannot be compared"]
    if -accuracy.difference.value >= drop - _ROUNDING:
        return [f"{row.cell.label}: accuracy fell by {-100 * accuracy.difference.value:.1f} points"]
    return []


@click.command(context_settings=CONTEXT)
@comparison_options
@json_option
def show(as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the flags of comparison_options
    """Show a comparison as charts and tables in the terminal."""
    comparison = compute(**chosen)
    if as_json:
        print_json(comparison.model_dump(mode="json"))
        return
    from ...viz.terminal.sparkline import courses
    from ...viz.terminal.tables import show_view

    with open_store(chosen["folder"]) as store:
        found = courses(store, comparison)
    console().print(show_view(comparison, found))


@click.command(context_settings=CONTEXT)
@folder_argument
@experiment_option
@click.option("--list", "only_list", is_flag=True, help="List the checks.")
@json_option
def findings(folder: Path, experiment: str | None, only_list: bool, as_json: bool) -> None:
    """Say what is wrong or doubtful in the measurements of an experiment."""
    from ...collate.comparison.observations import choose_experiment
    from ...collate.findings import findings as check
    from ...collate.findings import own_checks

    if only_list:
        registry = installed_plugins()
        checks = [check.model_dump() for check in own_checks()]
        checks += [
            {
                "check": check.name,
                "summary": check.summary,
                "provider": registry.provider("decodebench_findings", check.name).name,
            }
            for check in registry.findings.values()
        ]
        if as_json:
            print_json(checks)
        else:
            print_table(["check", "looks for", "from"], [list(each.values()) for each in checks], empty="no check")
        return
    with open_store(folder) as store:
        name = choose_experiment(store, experiment)
        found = check(store, name, further=installed_plugins().findings.values)
    if as_json:
        print_json({"experiment": name, "findings": [finding.model_dump(mode="json") for finding in found]})
        return
    for finding in found:
        click.echo(f"{finding.severity}: {finding}")
    if not found:
        click.echo(f"nothing doubtful in experiment {name!r}")
