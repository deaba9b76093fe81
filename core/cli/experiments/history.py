"""``history``: a metric of each cell over the experiments of a folder."""

from __future__ import annotations

from pathlib import Path

import click

from ..output import CONTEXT, echo, folder_argument, json_option, print_json, print_table
from ..results import open_results


@click.command(context_settings=CONTEXT)
@folder_argument
@click.option(
    "--metric", metavar="NAME", help="Metric to show, see docs/metrics.md.  [default: the first speed in the logs]"
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also draw it to a PNG, SVG or PDF file.",
)
@json_option
def history(folder: Path, metric: str | None, figure: Path | None, as_json: bool) -> None:
    """Show a metric of each cell over the experiments of DIR, oldest first.

    Experiments ran at different times, so changes of the machine are part of the differences. To test a difference,
    measure both sides in one run.
    """
    from ....viz.drawing.numbers import by_unit

    with open_results(folder) as results:
        found = results.history(metric)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        rows = [
            [
                one.cell if at == 0 else "",
                point.experiment,
                point.started_at[:16].replace("T", " "),
                "" if point.value.value is None else by_unit(point.value.value, found.unit),
                str(point.value.n),
                ", ".join(point.changed),
            ]
            for one in found.series
            for at, point in enumerate(one.points)
        ]
        print_table(["cell", "experiment", "began (UTC)", found.metric, "rounds", "changed"], rows, empty="no cell")
    if figure is not None:
        from ....viz.history import draw_history

        echo(draw_history(found, figure), err=as_json)
