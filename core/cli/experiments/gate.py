"""``gate``: two versions of a plugin or an engine, measured in turn; for continuous integration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from .... import defaults
from ...files import write_whole
from ...measure.progress import Progress
from .. import exit_codes
from ..compare import Share
from ..guidance.sections import SectionedCommand, examples
from ..output import CONTEXT, console, echo, json_option, options, print_json
from ..plan_flags import (
    busy_options,
    device_option,
    model_option,
    parse_options,
    quiet_option,
    seed_option,
    set_option,
    settings_of,
    when_busy,
)
from ..run import echo_failures, exit_code_of
from ..settings import check_config
from ..workload_flags import workload_options

_rounds_options = options(
    click.option(
        "--rounds",
        type=click.IntRange(2),
        default=defaults.ROUNDS,
        metavar="N",
        help="Rounds per side, each in a fresh process.",
    ),
    click.option("--until", type=click.Choice(["verdict"]), help="Add rounds until there is a verdict."),
    click.option(
        "--max-rounds",
        type=click.IntRange(3),
        default=defaults.MAX_ROUNDS,
        metavar="N",
        help="Maximum rounds per side with --until.",
    ),
)
_gate_options = options(
    click.option(
        "--fail-if-slower",
        type=Share(),
        metavar="SHARE",
        default=0.0,
        help="Exit 3 if the ratio's interval ends below 1 - SHARE, e.g. 5%.",
    ),
    click.option(
        "--fail-if-accuracy-drops",
        type=Share(),
        metavar="SHARE",
        help="Exit 3 if accuracy drops by SHARE or more, e.g. 1pp.",
    ),
    click.option(
        "--fail-if-outputs-differ", is_flag=True, help="Exit 3 if greedy outputs differ beyond numerical ties."
    ),
)


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    epilog=examples(
        "decodebench gate main HEAD -b llama-cpp -m tiny:target --task tiny-gsm",
        "decodebench gate my-engine==1.2 my-engine==1.3 -b my-engine -m tiny:target --prompt-tokens 512",
    ),
)
@click.argument("base", help="Version that is the baseline.")
@click.argument("new", help="Version that is tested.")
@click.option("-b", "--backend", metavar="NAME", required=True, help="Backend that both sides provide.")
@model_option
@click.option("-q", "--quantisation", metavar="NAME", help="Weight format.  [default: the backend's first]")
@device_option
@set_option
@workload_options()
@seed_option
@_rounds_options
@_gate_options
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the Markdown to this file.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder.")
@busy_options
@quiet_option
@json_option
@click.pass_context
def gate(ctx: click.Context, /, base: str, new: str, **flags: Any) -> int:  # noqa: ANN401 - click hands flags by name
    """Test whether NEW is slower than BASE; exit code 3 if it is.

    Each is a revision of the current git checkout, or what pip installs: a requirement such as `engine==1.2`, a URL
    or a folder. Each gets an environment of its own; the two are measured alternately, batch by batch.

    Exit code 1 if a round of either side failed, whatever the others show.
    """
    from ....collate.comparison.gates import Gates
    from ...api.gate import Gate, side_of
    from ...api.gate import gate as judge
    from ...isolation.worker_part import bare_environment
    from ..plugins.install import run

    check_config(ctx)
    gates = Gates(flags["fail_if_slower"], flags["fail_if_accuracy_drops"], flags["fail_if_outputs_differ"])
    found = judge(
        Gate(side_of(base, Path.cwd()), side_of(new, Path.cwd()), flags["backend"], gates),
        _settings(ctx, flags),
        flags["output"],
        run=partial(run, environment=bare_environment()),
        when_busy=when_busy(flags),
        progress=Progress(console(stderr=True), is_quiet=flags["quiet"]),
    )
    report, comparison = found.experiment.report, found.experiment.comparison
    if flags["as_json"]:
        about = {"experiment": report.experiment, "tripped": found.tripped, "markdown": found.markdown}
        print_json(about | {"comparison": comparison.model_dump(mode="json") if comparison else None})
    else:
        echo(found.markdown)
    if flags["summary"] is not None:
        write_whole(flags["summary"], found.markdown)
    echo_failures(report)
    code = exit_code_of(report)
    return code if code != exit_codes.DONE else exit_codes.GATE if found.tripped else exit_codes.DONE


def _settings(ctx: click.Context, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags ask for, by the words of a plan."""
    given, fallbacks = settings_of(ctx)
    chosen = {"model": flags["model"], "quantisation": flags["quantisation"], "device": list(flags["devices"])}
    chosen["options"] = parse_options(flags["settings"])
    return fallbacks | given | {name: value for name, value in chosen.items() if value}
