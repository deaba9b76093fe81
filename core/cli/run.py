"""``run``: measure a matrix, then show what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..measure.progress import Progress
from ..measure.runner import RunReport
from . import exit_codes
from .output import CONTEXT, console, echo, print_json, print_table
from .plan_flags import matrix_options, measure_options, settings_of, span_of, when_busy
from .settings import SOURCES, check_config

if TYPE_CHECKING:
    from ..api.experiment import Experiment, Measurement
    from ..measure.prompts import Prompts
    from ..records.workload import Workload


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.argument("plan_file", metavar="[PLAN.toml]", required=False, type=click.Path(path_type=Path))
@click.option(
    "-m", "--model", "models", multiple=True, metavar="MODEL", help="Named model, path or Hub id; repeatable."
)
@matrix_options
@measure_options
@click.option("--show-settings", is_flag=True, help="Print every setting and where it came from.")
@click.pass_context
def run(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Measure a matrix of backends, models, quantisations and options.

    Either a PLAN.toml spans the matrix, or -b, -m, -q, -d and --set do. Rounds that are there already are kept.
    """
    from ..api.experiment import planned

    check_config(ctx)
    if flags["show_settings"]:
        _show_settings(ctx, flags["as_json"])
        return exit_codes.DONE
    given, fallbacks = settings_of(ctx)
    given |= span_of(flags) | ({"model": list(flags["models"])} if flags["models"] else {})
    found = planned(flags["plan_file"], given, fallbacks)
    experiment = measure(found, flags)
    return exit_codes.DONE if experiment is None else conclude(experiment, as_json=flags["as_json"])


def measure(found: Measurement, flags: Mapping[str, Any]) -> Experiment | None:
    """Say what is left out of a matrix and measure it; with ``--dry-run`` show it instead.

    Args:
        found: what to measure.
        flags: those of ``measure_options``, by name.
    """
    for note in found.notes:
        echo(note, err=True)
    if flags["dry_run"]:
        _show_matrix(found, flags["as_json"])
        return None
    progress = Progress(console(stderr=True), shows_log=flags["show_log"], is_quiet=flags["quiet"])
    return found.run(flags["output"], fresh=not flags["resume"], when_busy=when_busy(flags), progress=progress)


def conclude(experiment: Experiment, *, as_json: bool) -> int:
    """Print what came out; return the exit code."""
    report, comparison = experiment.report, experiment.comparison
    if as_json:
        failed = [dict(zip(("cell", "round", "status", "reason"), entry, strict=True)) for entry in report.failed]
        content = {"experiment": report.experiment, "done": report.done, "kept": report.kept, "failed": failed}
        print_json(content | {"comparison": comparison.model_dump(mode="json") if comparison else None})
    elif comparison is not None:
        from ...viz.terminal.tables import comparison_view

        console().print(comparison_view(comparison))
    echo_failures(report)
    return exit_code_of(report)


def echo_failures(report: RunReport) -> None:
    """Say which rounds did not finish; the reasons were printed when it happened."""
    rounds: dict[tuple[str, str], list[str]] = {}
    for label, index, status, _ in report.failed:
        rounds.setdefault((label, status), []).append(str(index + 1))
    for (label, status), numbers in rounds.items():
        which = f"round{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
        echo(f"decodebench: {label}: {which}: {status}, see above", err=True)


def exit_code_of(report: RunReport) -> int:
    """Say why a run ended early, where it did; return the exit code."""
    if report.stopped or report.interrupted:
        why = report.stopped or "interrupted"
        echo(f"decodebench: {why}; finished rounds are kept, run again to complete", err=True)
    if report.interrupted and not report.stopped:
        return exit_codes.INTERRUPTED
    return exit_codes.FAILED if report.stopped or report.failed else exit_codes.DONE


def _show_matrix(found: Measurement, as_json: bool) -> None:
    plan, cells = found.plan, found.matrix.cells
    prompts = found.prompts
    if as_json:
        rows = [
            {
                "cell_id": cell.id,
                "backend": cell.backend.name,
                "model": cell.model.name,
                "quantisation": cell.quantisation,
                "device": cell.device,
                "options": cell.expanded_options,
            }
            for cell in cells
        ]
        workload = plan.workload.model_dump(mode="json", exclude={"model"}) | {"task_version": prompts.task_version}
        print_json({"rounds": plan.rounds, "workload": workload, "cells": rows})
        return
    shown = [[cell.backend.name, cell.model.name, cell.quantisation, cell.device, cell.changed] for cell in cells]
    print_table(["backend", "model", "quantisation", "device", "options set"], shown, empty="no cell")
    echo(f"{len(cells)} cells x {plan.rounds} rounds = {len(cells) * plan.rounds} worker processes")
    echo(_each_round(plan.workload, prompts))


def _each_round(workload: Workload, prompts: Prompts) -> str:
    """Say in one line what every round is asked."""
    measured = sum(not job.is_warmup for job in prompts.jobs)
    what = f"{workload.task} {prompts.task_version}" if workload.task else "random ids"
    attempts = f", {workload.attempts} attempts at each problem" if workload.attempts > 1 else ""
    stop = f", stop {' '.join(map(repr, workload.stop))}" if workload.stop else ""
    return f"each round: {measured} samples of {what}{attempts}, at most {workload.token_limit} new tokens{stop}"


def _show_settings(ctx: click.Context, as_json: bool) -> None:
    rows = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if source is not None and name not in ("show_settings", "as_json"):
            value = ctx.params[name]
            shown = str(value) if isinstance(value, Path) else value
            rows.append({"setting": name, "value": shown, "from": SOURCES[source]})
    if as_json:
        print_json(rows)
        return
    print_table(["setting", "value", "from"], [list(row.values()) for row in rows], empty="no setting")
