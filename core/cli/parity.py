"""``parity``: which backends and formats give the reference's tokens, and how far off the others are."""

from __future__ import annotations

from typing import Any

import click

from ..measure.progress import Progress
from ..measure.rounds.report import describe_failures
from . import exit_codes
from .guidance.sections import SectionedCommand, examples, section
from .output import CONTEXT, console, echo, print_json
from .plan_flags import MATRIX, matrix_options, model_option, run_options, settings_of, span_of, task_options
from .run import echo_failures, exit_code_of
from .settings import check_config

_PROMPTS = 64  # enough that a change of one weight in a thousand shows in some output


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    epilog=examples("decodebench parity -b transformers -b llama-cpp -m tiny:target --task tiny-gsm"),
)
@matrix_options
@model_option
@section(
    MATRIX,
    click.option(
        "--reference",
        metavar="BACKEND[:QUANT]",
        help="Cell that the others are compared with, such as transformers:fp32; runs on the first device, with the "
        "first value of each option.  "
        "[default: the backend that is declared the reference, in its first format]",
    ),
)
@task_options
@section("Workload", click.option("--samples", type=click.IntRange(1), default=_PROMPTS, metavar="N", help="Prompts."))
@run_options
@click.pass_context
def parity(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Compare every cell's greedy outputs and distributions with a reference.

    Every cell runs once; finished cells are kept. Float32 cells must generate the same tokens as a float32 reference,
    except at numerical ties between its two most likely tokens; otherwise the exit code is 3.
    """
    from ..api.parity import measure_parity, planned_parity

    check_config(ctx)
    for parameter in ctx.command.params:
        if parameter.name in ("backends", "model", "task") and not flags[parameter.name]:
            raise click.MissingParameter(ctx=ctx, param=parameter)
    given, fallbacks = settings_of(ctx)
    own = {"model": flags["model"], "samples": flags["samples"]}
    planned = planned_parity(own | fallbacks | given | span_of(flags), flags["reference"])
    for note in planned.notes:
        echo(note, err=True)
    progress = Progress(console(stderr=True), is_quiet=flags["quiet"])
    report, matrix = measure_parity(planned, flags["output"], fresh=not flags["resume"], progress=progress)
    if matrix is None:
        echo_failures(report)
        return exit_code_of(report)
    if flags["as_json"]:
        print_json(matrix.model_dump(mode="json"))
    else:
        from ...viz.terminal.parity import parity_view

        console().print(parity_view(matrix))
    echo_failures(report)
    told = describe_failures(report.failed)
    for line in (line for line in matrix.failed if line not in told):
        echo(f"decodebench: {line}", err=True)
    for line in matrix.broken:
        echo(f"decodebench: parity is broken: {line}", err=True)
    if matrix.broken:
        return exit_codes.GATE
    return exit_codes.FAILED if matrix.failed else exit_codes.DONE
