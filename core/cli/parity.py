"""``parity``: which backends and formats give the reference's tokens, and how far off the others are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from ..cache import ModelCache
from ..contract.backend import Backend
from ..errors import DecodebenchError, UsageError, unknown_name
from ..host.registry import Registry
from ..measure.cells import expand
from ..measure.plan import Plan, build, with_task_settings
from ..measure.progress import Progress
from ..measure.runner import Runner, describe_failures
from .installed import installed_plugins
from .output import CONTEXT, console, json_option, print_json
from .plan_flags import MatrixFlags, cell_specs
from .settings import check_config, is_set

if TYPE_CHECKING:
    from ...collate.parity.matrix import ParityMatrix

EXIT_BROKEN = 3
_PROMPTS = 64  # enough that a change of one weight in a thousand shows in some output


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.option("-b", "--backend", "backends", multiple=True, required=True, metavar="NAME", help="Repeatable.")
@click.option("-m", "--model", required=True, metavar="MODEL", help="Named model, path or Hub id.")
@click.option("-q", "--quantisation", "quantisations", multiple=True, metavar="NAME", help="Weight format; repeatable.")
@click.option("-d", "--device", "devices", multiple=True, metavar="NAME", help="Device; the reference has the first.")
@click.option("--set", "settings", multiple=True, metavar="[BACKEND.]OPTION=V1,V2",
              help="Set or sweep an option; the reference has its first value.")  # fmt: skip
@click.option("--reference", metavar="BACKEND[:QUANT]", help="What the others are held against.  [default: the "
              "backend that calls itself the reference, in its first format]")  # fmt: skip
@click.option("--task", required=True, metavar="NAME", help="Task that gives the prompts.")
@click.option("--samples", type=click.IntRange(1), default=_PROMPTS, help="Prompts.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=defaults.MAX_NEW_TOKENS,
              help="Token limit; not given, the task's own where it has one.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=defaults.SEED, help="Chooses the prompts.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=defaults.TIMEOUT_S, help="Seconds a cell.")
@click.option("--name", metavar="NAME", help="Name of the experiment.  [default: from the workload]")
@click.option("--anonymise", is_flag=True, help="Record hashes instead of host and user names.")
@click.option("--allow-code-execution", is_flag=True, help="Let the task run code that a model wrote, in a sandbox.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder.")
@click.option("--resume/--fresh", default=True, help="Complete the experiment of this name, or begin a new one.")
@json_option
@click.pass_context
def parity(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Hold every cell's greedy outputs and distributions against a reference.

    Every cell runs once; what is there already is kept. Float32 cells must give the tokens of a float32 reference,
    ties of its two likeliest tokens apart: where they do not, the command ends with exit code 3.
    """
    check_config(ctx)
    registry, cache = installed_plugins(), ModelCache()
    plan, left_out = _plan(ctx, flags, registry)
    plan = with_task_settings(plan, registry)
    for note in left_out:
        click.echo(note, err=True)
    runner = Runner(
        plan, expand(plan, registry, cache), registry, cache, flags["output"], Progress(console(stderr=True))
    )
    report = runner.run(fresh=not flags["resume"])
    if report.stopped or report.interrupted:
        for line in describe_failures(report.failed):
            click.echo(f"decodebench: {line}", err=True)
        why = report.stopped or "interrupted"
        click.echo(f"decodebench: {why}; finished cells are kept, run again to complete", err=True)
        return 130 if report.interrupted else 1
    from .parity_run import hold_against_reference

    try:
        matrix = hold_against_reference(runner, report)
    except OSError as error:
        raise DecodebenchError(f"cannot keep what was scored: {error}; the raw logs are untouched") from error
    return _conclude(matrix, as_json=flags["as_json"])


def _conclude(matrix: ParityMatrix, *, as_json: bool) -> int:
    if as_json:
        print_json(matrix.model_dump(mode="json"))
    else:
        from ...viz.terminal.tables import parity_view

        console().print(parity_view(matrix))
    for line in matrix.failed:
        click.echo(f"decodebench: {line}", err=True)
    for line in matrix.broken:
        click.echo(f"decodebench: parity is broken: {line}", err=True)
    return EXIT_BROKEN if matrix.broken else 1 if matrix.failed else 0


def _plan(ctx: click.Context, flags: dict[str, Any], registry: Registry) -> tuple[Plan, list[str]]:
    """Build the plan, whose first cell is the reference; return it with what did not apply.

    Raises:
        UsageError: an unknown name, or no reference.
    """
    reference, quantisation = _reference(flags["reference"], registry)
    texts = list(flags["settings"])
    own = MatrixFlags([reference.name], [], [], flags["devices"][:1], [t for t in texts if _is_for(reference, t)])
    (spec,) = cell_specs(own, registry)
    options = {name: value[0] if isinstance(value, list) else value for name, value in spec["options"].items()}
    if reference.name not in flags["backends"]:
        texts = [text for text in texts if not text.startswith(f"{reference.name}.")]
    others = MatrixFlags(flags["backends"], [], flags["quantisations"], flags["devices"], texts)
    workload = {name: flags[name] for name in ("model", "task", "samples")}
    if is_set(ctx, "max_new_tokens"):
        workload["max_new_tokens"] = flags["max_new_tokens"]
    content = {
        "name": flags["name"],
        "seed": flags["seed"],
        "rounds": 1,
        "timeout_s": flags["timeout"],
        "anonymise": flags["anonymise"],
        "allow_code_execution": flags["allow_code_execution"],
        "workload": workload,
        "cells": [spec | {"quantisation": quantisation, "options": options}, *cell_specs(others, registry)],
    }
    return build(content, "command line"), others.left_out


def _reference(text: str | None, registry: Registry) -> tuple[type[Backend], str]:
    """Return the backend and the quantisation that ``--reference`` names, or the one that calls itself reference."""
    name, _, quantisation = (text or "").partition(":")
    if name:
        backend = registry.backend(name)
    else:
        named = [backend for backend in registry.backends.values() if backend.is_reference]
        if not named:
            raise UsageError("no backend calls itself the reference; give --reference BACKEND[:QUANT]")
        backend = named[0]
    offered: Sequence[str] = [q.name for q in backend.quantisations()]
    if quantisation and quantisation not in offered:
        raise unknown_name(f"quantisation of backend {backend.name!r}", quantisation, offered)
    return backend, quantisation or offered[0]


def _is_for(backend: type[Backend], setting: str) -> bool:
    """Whether a ``[BACKEND.]OPTION=VALUE`` text sets an option of this backend."""
    name, _, option = setting.partition("=")[0].rpartition(".")
    return name == backend.name or (not name and option in backend.Options.model_fields)
