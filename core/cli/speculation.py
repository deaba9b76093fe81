"""``speculation``: what speculative decoding gains, what its cycles cost and where its drafts fail."""

from __future__ import annotations

from pathlib import Path

import click

from .output import CONTEXT, console, experiment_option, folder_argument, json_option, print_json
from .results import open_results


@click.command(context_settings=CONTEXT)
@folder_argument
@experiment_option
@click.option(
    "--baseline",
    metavar="CELL",
    help="Baseline: a cell's label or a value of a dimension.  [default: the same backend without drafts, else the "
    "plan's first cell]",
)
@click.option("--steady-state", is_flag=True, help="Exclude the first sample of every round from timings.")
@json_option
def speculation(folder: Path, experiment: str | None, baseline: str | None, steady_state: bool, as_json: bool) -> None:
    """Analyse speculative decoding: acceptance, cycle costs, block sizes, model pairs.

    Plugins may add analyses of their own decoders. Ratios are relative to the baseline; above 1 is better.
    """
    with open_results(folder) as results:
        analysis = results.speculation(experiment, steady_state=steady_state, baseline=baseline)
    if as_json:
        print_json(analysis.model_dump(mode="json"))
        return
    from ...viz.terminal.speculation import speculation_view

    console().print(speculation_view(analysis))
