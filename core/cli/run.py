"""``run`` and ``shard``: measure a matrix, or a part of its rounds, then show what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...viz.drawing.numbers import counted
from ..errors import plural
from ..host.availability import availability
from ..measure.forecast.probe import RoundEstimate, RunEstimate
from ..measure.forecast.time_left import duration
from ..measure.progress import Progress
from ..measure.rounds.report import Budget, RunReport, describe_budget, describe_undecided
from ..records.cell_names import weight_format
from . import exit_codes
from .guidance.completion import complete
from .guidance.sections import SectionedCommand, examples, section
from .output import CONTEXT, console, echo, options, print_json, print_table
from .plan_flags import MATRIX, OUTPUT, matrix_options, measure_options, settings_of, span_of, when_busy
from .settings import SOURCES, check_config

if TYPE_CHECKING:
    from ..api.experiment import Experiment, Measurement
    from ..measure.cells import Cell
    from ..measure.output.shard import Shard
    from ..measure.prompts import Prompts
    from ..records.workload import Workload

_EXAMPLES = examples(
    "decodebench run -b transformers -b llama-cpp -m tiny:target",
    "decodebench run -b llama-cpp -m model.gguf -q q8_0 -q q4_k_m --rounds 10",
    "decodebench run -b llama-cpp -m model.gguf --prompt-tokens 512 --set n_threads=1,2,4",
    "decodebench run plan.toml --dry-run",
)
_SHARD_EXAMPLES = examples(
    "decodebench shard 1/2 plan.toml -o shard1   # on the first machine",
    "decodebench shard 2/2 plan.toml -o shard2   # on the second",
    "decodebench collate merged --from shard1 --from shard2",
)
_run_options = options(
    click.argument(
        "plan_file",
        metavar="[PLAN.toml]",
        required=False,
        type=click.Path(path_type=Path),
        help="Plan of a larger experiment, see docs/plans.md.",
    ),
    section(
        MATRIX,
        click.option(
            "-m",
            "--model",
            "models",
            multiple=True,
            metavar="MODEL",
            shell_complete=complete("models"),
            help="Named model, path or Hub id; repeatable.",
        ),
    ),
    matrix_options,
    measure_options,
)


@click.command(cls=SectionedCommand, context_settings=CONTEXT, epilog=_EXAMPLES)
@_run_options
@section(
    OUTPUT,
    click.option("--show-settings", is_flag=True, help="Measure nothing; print every setting and where it comes from."),
)
@click.pass_context
def run(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Measure a matrix of backends, models, quantisations and options.

    The matrix comes from PLAN.toml, or from -b, -m, -q, -d and --set. Finished rounds are kept: the same command
    continues an interrupted run.
    """
    check_config(ctx)
    if flags["show_settings"]:
        _show_settings(ctx, flags["as_json"])
        return exit_codes.DONE
    experiment = measure(_planned(ctx), flags)
    return exit_codes.DONE if experiment is None else conclude(experiment, as_json=flags["as_json"])


@click.command(cls=SectionedCommand, context_settings=CONTEXT, epilog=_SHARD_EXAMPLES)
@click.argument("part", metavar="I/N", help="Number of the shard and of all shards, e.g. 1/4.")
@_run_options
@click.pass_context
def shard(ctx: click.Context, /, part: str, **flags: Any) -> int:  # noqa: ANN401 - those of `run`
    """Measure shard I of N of a plan's rounds, one shard per machine.

    Give every machine the same plan; `decodebench collate DIR --from SHARD` then merges their output folders.
    """
    from ..measure.output.shard import shard_of

    check_config(ctx)
    found = _planned(ctx)
    experiment = measure(found, flags, shard_of(part, found.plan))
    return exit_codes.DONE if experiment is None else conclude(experiment, as_json=flags["as_json"])


def _planned(ctx: click.Context) -> Measurement:
    """Return what the flags of ``run``, and the plan among them, ask for."""
    from ..api.experiment import planned

    given, fallbacks = settings_of(ctx)
    given |= span_of(ctx.params) | ({"model": list(ctx.params["models"])} if ctx.params["models"] else {})
    return planned(ctx.params["plan_file"], given, fallbacks, converts=not is_shown_only(ctx.params))


def is_shown_only(flags: Mapping[str, Any]) -> bool:
    """Whether a matrix is shown and no engine is loaded."""
    return bool(flags["dry_run"]) and not flags["probe"]


def measure(found: Measurement, flags: Mapping[str, Any], shard: Shard | None = None) -> Experiment | None:
    """Say what is left out of a matrix and measure it; with ``--dry-run`` show it, and what it would take, instead.

    Args:
        found: what to measure.
        flags: those of ``measure_options``, by name.
        shard: the part of its rounds that is measured; None: all.
    """
    for note in found.notes:
        echo(note, err=True)
    progress = Progress(console(stderr=True), shows_log=flags["show_log"], is_quiet=flags["quiet"])
    if flags["dry_run"]:
        for line in () if flags["probe"] else _unprobed(found.matrix.cells):
            echo(line, err=True)
        _show_matrix(found, found.estimate(progress) if flags["probe"] else None, as_json=flags["as_json"])
        if shard is not None:
            count = len(shard.rounds(found.matrix.labels, found.plan.rounds))
            echo(f"shard {shard} has {count} of these rounds", err=True)
        return None
    budget = Budget(flags["budget"])
    return found.run(
        flags["output"],
        fresh=not flags["resume"],
        budget=budget,
        when_busy=when_busy(flags),
        progress=progress,
        shard=shard,
    )


def _unprobed(cells: Sequence[Cell]) -> Iterator[str]:
    """Say which engines are missing, and which devices nobody asked an engine about."""
    for backend in {cell.backend.name: cell.backend for cell in cells}.values():
        found = availability(backend)
        if not found.available:
            yield f"{backend.name}: {found.reason}" + (f"; {found.fix}" if found.fix else "")
    named = {(cell.backend.name, cell.device): cell.backend.residence for cell in cells if cell.device != "cpu"}
    for (name, device), residence in named.items():
        if residence == "in-process":
            yield f"{name}: whether it sees the device {device!r} is not checked without a probe"


def conclude(experiment: Experiment, *, as_json: bool) -> int:
    """Print what came out; return the exit code."""
    report, comparison = experiment.report, experiment.comparison
    if as_json:
        failed = [
            {"cell": one.cell, "round": one.round + 1, "status": one.status, "reason": one.reason, "code": one.code}
            for one in report.failed
        ]
        content = {"experiment": report.experiment, "done": report.done, "kept": report.kept, "failed": failed}
        end = report.budget_end
        content |= {"undecided": report.undecided, "budget_end": None if end is None else asdict(end)}
        print_json(content | {"comparison": comparison.model_dump(mode="json") if comparison else None})
    elif comparison is not None:
        from ...viz.terminal.tables import comparison_view

        console().print(comparison_view(comparison))
    echo_failures(report)
    if report.budget_end is not None:
        echo(f"decodebench: {describe_budget(report.budget_end)}", err=True)
    for line in describe_undecided(report.undecided):
        echo(f"decodebench: {line}", err=True)
    return exit_code_of(report)


def echo_failures(report: RunReport) -> None:
    """Say which rounds did not finish; the reasons were printed when it happened."""
    rounds: dict[tuple[str, str], list[str]] = {}
    for one in report.failed:
        rounds.setdefault((one.cell, one.status), []).append(str(one.round + 1))
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
    return exit_codes.FAILED if report.stopped or report.failed or report.cut else exit_codes.DONE


_MOST_SHOWN = 500
"""Cells of a plan that are printed; laying out a table of a hundred thousand takes minutes."""


def _show_matrix(found: Measurement, estimate: RunEstimate | None, *, as_json: bool) -> None:
    """Print the cells of a matrix, each with its estimate where there is one."""
    plan, cells = found.plan, found.matrix.cells
    estimates = estimate.cells if estimate else [None] * len(cells)
    if as_json:
        rows = [_cell_row(cell) | _times(one) for cell, one in zip(cells, estimates, strict=True)]
        workload = plan.workload.model_dump(mode="json", exclude={"model"})
        content: dict[str, Any] = {"rounds": plan.most_rounds, "workload": workload, "cells": rows}
        workload["task_version"] = found.prompts.task_version
        if estimate is not None:
            times = {"estimated_s": estimate.total_s, "estimated_at_most_s": estimate.at_most_s}
            content |= times | {"warnings": list(estimate.warnings())}
        print_json(content)
        return
    columns = ["backend", "model", "quantisation", "device", "options set"]
    shown = [[cell.backend.name, cell.model.name, _format(cell), cell.device, cell.changed] for cell in cells]
    if estimate is not None:
        columns.append("a round takes")
        shown = [[*row, _words(one)] for row, one in zip(shown, estimate.cells, strict=True)]
    print_table(columns, shown[:_MOST_SHOWN], empty="no cell")
    if (further := len(shown) - _MOST_SHOWN) > 0:
        echo(f"and {plural(further, 'further cell')}; --json has all of them")
    most, at_most = plan.most_rounds, " at most" if plan.looks else ""
    echo(f"{plural(len(cells), 'cell')} x {plural(most, 'round')} = {len(cells) * most} worker processes{at_most}")
    echo(_each_round(plan.workload, found.prompts))
    if estimate is not None:
        longest = "" if estimate.at_most_s < 1.1 * estimate.total_s else _longest(estimate.at_most_s)
        echo(f"all rounds: about {duration(estimate.total_s)}{longest}, by one batch of each cell")
        for warning in estimate.warnings():
            echo(warning, err=True)


def _format(cell: Cell) -> str:
    return weight_format(cell.quantisation, cell.traits.options)


def _cell_row(cell: Cell) -> dict[str, Any]:
    return {
        "cell_id": cell.id,
        "backend": cell.backend.name,
        "model": cell.model.name,
        "quantisation": cell.quantisation,
        "device": cell.device,
        "options": cell.expanded_options,
    }


def _times(one: RoundEstimate | None) -> dict[str, Any]:
    return {} if one is None else {"round_s": one.round_s, "round_at_most_s": one.at_most_s, "reason": one.reason}


def _words(one: RoundEstimate) -> str:
    return "unknown" if one.round_s is None else f"about {duration(one.round_s)}"


def _longest(seconds: float) -> str:
    return f" ({duration(seconds)} if every answer is as long as allowed)"


def _each_round(workload: Workload, prompts: Prompts) -> str:
    """Say in one line what every round is asked."""
    measured = sum(not job.is_warmup for job in prompts.jobs)
    what = f"{workload.task} {prompts.task_version}" if workload.task else "random ids"
    attempts = f", {workload.attempts} attempts at each problem" if workload.attempts > 1 else ""
    stop = f", stop {' '.join(map(repr, workload.stop))}" if workload.stop else ""
    limit = counted(workload.token_limit, "new token")
    return f"each round: {plural(measured, 'sample')} of {what}{attempts}, at most {limit}{stop}"


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
