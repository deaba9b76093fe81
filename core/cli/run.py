"""``run``: measure a matrix, then show what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ... import defaults
from ..cache import ModelCache
from ..host.registry import Registry
from ..measure.cells import Matrix, expand
from ..measure.plan import Plan, build, with_task_settings
from ..measure.progress import Progress
from ..measure.prompts import Prompts
from ..measure.runner import Runner, RunReport, describe_failures
from ..sdk.sizes import Size
from .installed import installed_plugins
from .output import CONTEXT, console, json_option, print_json, print_table
from .plan_flags import MatrixFlags, plan_content
from .settings import SOURCES, check_config

F = TypeVar("F", bound=Callable[..., Any])


def workload_options(command: F) -> F:
    """Add the flags that describe the workload."""
    options = [
        click.option("--task", metavar="NAME", help="Task that gives prompts and scores answers."),
        click.option(
            "--samples", type=click.IntRange(1), default=defaults.SAMPLES, help="Measured problems per round."
        ),
        click.option(
            "--attempts",
            type=click.IntRange(1),
            default=1,
            help="Answers to each problem, for pass@k at a temperature.",
        ),
        click.option("--warmup", type=click.IntRange(0), default=defaults.WARMUP, help="Warm-up samples per round."),
        click.option(
            "--max-new-tokens",
            type=click.IntRange(1),
            default=defaults.MAX_NEW_TOKENS,
            help="Token limit; not given, the task's own where it has one.",
        ),
        click.option("--prompt-tokens", type=click.IntRange(1), help="Random prompts of so many tokens, no task."),
        click.option("--output-tokens", type=click.IntRange(1), help="Token limit of fixed-length workloads."),
        click.option("--depth", type=click.IntRange(0), default=0, help="Context tokens before each random prompt."),
        click.option("--ignore-eos", is_flag=True, help="Go on past the end token."),
        click.option("--chat", is_flag=True, help="Apply the model's chat template."),
        click.option(
            "--stop", multiple=True, metavar="TEXT", help="Stop string, instead of the task's own; may be repeated."
        ),
        click.option(
            "--batch-size", type=click.IntRange(1), default=defaults.BATCH_SIZE, help="Rows generated together."
        ),
        click.option("--temperature", type=click.FloatRange(0), default=0.0, help="0 is greedy."),
        click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Nucleus mass."),
        click.option("--top-k", type=click.IntRange(0), default=0, help="Keep the k most likely ids; 0: all."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add the flags that say how often, how long and where to."""
    options = [
        click.option("--rounds", type=click.IntRange(1), default=defaults.ROUNDS, help="Fresh processes per cell."),
        click.option("--seed", type=click.IntRange(0), default=defaults.SEED, help="Chooses prompts, order, sampling."),
        click.option(
            "--timeout", type=click.FloatRange(0, min_open=True), default=defaults.TIMEOUT_S, help="Seconds a round."
        ),
        click.option("--memory-limit", type=Size(), metavar="SIZE", help="Memory limit of each worker, e.g. 2GiB."),
        click.option("--name", metavar="NAME", help="Name of the experiment.  [default: from the workload]"),
        click.option("--anonymise", is_flag=True, help="Record hashes instead of host and user names."),
        click.option(
            "--allow-code-execution", is_flag=True, help="Let tasks run code that a model wrote, in a sandbox."
        ),
        click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder."),
        click.option(
            "--resume/--fresh", default=True, help="Complete the experiment of this name, or begin a new one."
        ),
        click.option(
            "--show-log", is_flag=True, help="Print each sample's log in the format of the engine's own tools."
        ),
        click.option("--dry-run", is_flag=True, help="Print the matrix and measure nothing."),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.argument("plan_file", metavar="[PLAN.toml]", required=False, type=click.Path(path_type=Path))
@click.option("-b", "--backend", "backends", multiple=True, metavar="NAME", help="Backend; may be repeated.")
@click.option(
    "-m", "--model", "models", multiple=True, metavar="MODEL", help="Named model, path or Hub id; repeatable."
)
@click.option("-q", "--quantisation", "quantisations", multiple=True, metavar="NAME", help="Weight format; repeatable.")
@click.option("-d", "--device", "devices", multiple=True, metavar="NAME", help="Device; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="[BACKEND.]OPTION=V1,V2", help="Set or sweep an option.")
@workload_options
@run_options
@click.option("--show-settings", is_flag=True, help="Print every setting and where it came from.")
@click.pass_context
def run(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Measure a matrix of backends, models, quantisations and options.

    Either a PLAN.toml spans the matrix, or -b, -m, -q, -d and --set do. Rounds that are there already are kept.
    """
    check_config(ctx)
    if flags["show_settings"]:
        _show_settings(ctx, flags["as_json"])
        return 0
    registry = installed_plugins()
    spans = (flags["backends"], flags["models"], flags["quantisations"], flags["devices"], flags["settings"])
    matrix_flags = MatrixFlags(*spans)
    content = plan_content(ctx, flags["plan_file"], matrix_flags, registry)
    plan = build(content, str(flags["plan_file"] or "command line"))
    return execute(plan, registry, flags, matrix_flags.left_out)


def execute(plan: Plan, registry: Registry, flags: Mapping[str, Any], notes: Sequence[str]) -> int:
    """Expand a plan, say what is left out of it, measure it and show what came out; return the exit code.

    Args:
        plan: what to measure.
        registry: the plugins.
        flags: those of ``run_options``, by name.
        notes: what was left out already.
    """
    cache = ModelCache()
    plan = with_task_settings(plan, registry)
    matrix = expand(plan, registry, cache)
    for note in [*notes, *matrix.notes]:
        click.echo(note, err=True)
    if flags["dry_run"]:
        prompts = Prompts.of(plan, registry)
        _show_matrix(plan, prompts, matrix, flags["as_json"])
        return 0
    progress = Progress(console(stderr=True), shows_log=flags["show_log"])
    runner = Runner(plan, matrix, registry, cache, flags["output"], progress)
    return conclude(runner, runner.run(fresh=not flags["resume"]), as_json=flags["as_json"])


def conclude(runner: Runner, report: RunReport, *, as_json: bool) -> int:
    """Collate, look for divergences, print the comparison; return the exit code."""
    from .conclusion import compare_run

    has_results = bool(report.done or report.kept) and not report.stopped
    comparison = compare_run(runner, report) if has_results else None
    if as_json:
        failed = [dict(zip(("cell", "round", "status", "reason"), entry, strict=True)) for entry in report.failed]
        content = {"experiment": report.experiment, "done": report.done, "kept": report.kept, "failed": failed}
        print_json(content | {"comparison": comparison.model_dump(mode="json") if comparison else None})
    elif comparison is not None:
        from ...viz.terminal.tables import comparison_view

        console().print(comparison_view(comparison))
    for line in describe_failures(report.failed):
        click.echo(f"decodebench: {line}", err=True)
    if report.stopped:
        click.echo(f"decodebench: {report.stopped}; finished rounds are kept, run again to complete", err=True)
        return 1
    if report.interrupted:
        click.echo("decodebench: interrupted; finished rounds are kept, run again to complete", err=True)
        return 130
    return 1 if report.failed else 0


def _show_matrix(plan: Plan, prompts: Prompts, matrix: Matrix, as_json: bool) -> None:
    rows = [
        {
            "cell_id": cell.id,
            "backend": cell.backend.name,
            "model": cell.model.name,
            "quantisation": cell.quantisation,
            "device": cell.device,
            "options": cell.expanded_options,
        }
        for cell in matrix.cells
    ]
    if as_json:
        workload = plan.workload.model_dump(mode="json", exclude={"model"}) | {"task_version": prompts.task_version}
        print_json({"rounds": plan.rounds, "workload": workload, "cells": rows})
        return
    shown = [
        [cell.backend.name, cell.model.name, cell.quantisation, cell.device, cell.changed] for cell in matrix.cells
    ]
    print_table(["backend", "model", "quantisation", "device", "options set"], shown, empty="no cell")
    click.echo(f"{len(rows)} cells x {plan.rounds} rounds = {len(rows) * plan.rounds} worker processes")
    click.echo(_each_round(plan, prompts))


def _each_round(plan: Plan, prompts: Prompts) -> str:
    """Say in one line what every round is asked."""
    workload = plan.workload
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
            rows.append(
                {"setting": name, "value": str(value) if isinstance(value, Path) else value, "from": SOURCES[source]}
            )
    if as_json:
        print_json(rows)
        return
    print_table(["setting", "value", "from"], [list(row.values()) for row in rows], empty="no setting")
