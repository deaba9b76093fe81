"""``sweep``: run a preset matrix of a plugin, then draw its figures and write its table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..api.plugins import installed_plugins
from ..contract.sweep import Sweep
from ..errors import UsageError
from . import exit_codes
from .guidance.completion import complete
from .guidance.sections import SectionedCommand, examples
from .output import CONTEXT, echo, print_listing
from .plan_flags import device_option, measure_options, model_option, set_option, settings_of, span_of
from .run import conclude, is_shown_only, measure
from .settings import check_config

if TYPE_CHECKING:
    from ..api.experiment import Experiment


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    epilog=examples("decodebench sweep --list", "decodebench sweep quantisations -m tiny:target"),
)
@click.argument(
    "preset", metavar="[NAME]", required=False, shell_complete=complete("presets"), help="Preset, see --list."
)
@model_option
@device_option
@set_option
@click.option("--list", "only_list", is_flag=True, help="List the presets.")
@measure_options
@click.pass_context
def sweep(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Run a preset matrix of a plugin, e.g. over block sizes; without NAME, list the presets.

    --set applies to every cell whose backend has the option.
    """
    from ..api.sweep import find_sweep, planned_sweep

    check_config(ctx)
    as_json = flags["as_json"]
    if flags["only_list"] or not flags["preset"]:
        _show_presets(as_json)
        return exit_codes.DONE
    preset = find_sweep(flags["preset"])
    if not flags["model"]:
        raise UsageError(
            f"sweep {preset.name!r} needs a model: give -m MODEL (see `decodebench models`)", code="no-model"
        )
    given, fallbacks = settings_of(ctx)
    planned = planned_sweep(
        preset, flags["model"], given | span_of(flags), fallbacks, converts=not is_shown_only(flags)
    )
    experiment = measure(planned, flags)
    if experiment is None:
        return exit_codes.DONE
    code = conclude(experiment, as_json=as_json)
    if code == exit_codes.DONE:
        _write(preset, experiment, is_quiet=as_json)
    return code


def _write(preset: Sweep, experiment: Experiment, *, is_quiet: bool) -> None:
    """Draw the preset's figures and write its table; on standard error where standard output is JSON.

    A sweep that was narrowed by ``--set`` may lack what a figure needs.
    """
    with experiment.open() as results:
        drawn = results.draw(preset.figures, results.compare(experiment=experiment.name)) if preset.figures else None
        lines = [str(path) for path in drawn.files] if drawn else []
        if drawn and drawn.missing:
            echo(f"not drawn: {drawn.missing}", err=True)
        if preset.exporter is not None:
            target = results.folder / preset.name
            tables = results.export(preset.exporter, experiment.name, to=target)
            lines.append(f"{target} ({len(tables)} files, format {preset.exporter})")
    for line in lines:
        echo(line, err=is_quiet)


def _show_presets(as_json: bool) -> None:
    registry = installed_plugins()
    rows = [
        {"sweep": name, "plugin": registry.provider("decodebench_sweeps", name).name, "varies": preset.summary}
        for name, preset in registry.sweeps.items()
    ]
    print_listing(rows, ["sweep", "plugin", "varies"], as_json=as_json, empty="no sweep")
