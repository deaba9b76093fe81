"""``demo``: the whole way, from every available backend to a table, figures and a page, on the tiny models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from ..api.plugins import installed_plugins
from ..contract.backend import Backend
from ..contract.model import Quantisation
from ..errors import UsageError
from ..host.availability import availability
from ..host.registry import Registry
from ..measure.plan import Plan, build
from ..measure.progress import Progress
from ..measure.rounds.report import Budget
from ..sdk.models import example_model
from ..sdk.sizes import Duration
from .output import CONTEXT, console, echo, json_option
from .plan_flags import busy_options, when_busy
from .run import conclude
from .settings import check_config

if TYPE_CHECKING:
    from ..api.experiment import Experiment

_TASK = "tiny-gsm"
_BITS_WANTED = (32.0, 8.0, 4.5)  # 4-bit formats carry half a bit of scales
_NEAR = 1.5  # a format within this factor of the wanted bits stands for it
_MOST_ROUNDS = 30


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.option(
    "--budget",
    type=Duration(),
    default=defaults.DEMO_BUDGET_S,
    help=f"Time to measure for, e.g. 10m, set-up not counted; {defaults.DEMO_MIN_ROUNDS} rounds run in any case.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder.")
@busy_options
@json_option
@click.pass_context
def demo(ctx: click.Context, /, budget: float, output: Path, as_json: bool, **flags: Any) -> int:  # noqa: ANN401
    """Compare every available backend on the built-in tiny models."""
    check_config(ctx)
    from ..api.experiment import measurement

    registry = installed_plugins()
    plan = demo_plan(registry)
    if not as_json:
        echo(_announcement(plan, budget))
    progress = Progress(console(stderr=True))
    limit = Budget(budget, defaults.DEMO_MIN_ROUNDS)
    found = measurement(plan)
    experiment = found.run(output, fresh=True, budget=limit, when_busy=when_busy(flags), progress=progress)
    code = conclude(experiment, as_json=as_json)
    if experiment.report.done and not experiment.report.interrupted:
        for line in _files(experiment):
            echo(line, err=as_json)
    for line in missing_backends(registry):
        echo(line, err=as_json)
    return code


def demo_plan(registry: Registry) -> Plan:
    """Build the demo's plan: every available engine in process, at full precision and near 8 and 4 bits.

    Raises:
        UsageError: no backend is available; says how to get each.
    """
    available = [backend for backend in _engines(registry) if availability(backend).available]
    available.sort(key=lambda backend: (not backend.is_reference, backend.name))
    if not available:
        raise UsageError("\n".join(["no backend is available", *missing_backends(registry)]))
    cells = [
        {
            "backend": backend.name,
            "model": example_model(backend.name, registry.models),
            "quantisation": quantisations_for(backend),
        }
        for backend in available
    ]
    size = {"samples": defaults.DEMO_PROBLEMS, "warmup": defaults.WARMUP}
    workload = {"model": defaults.EXAMPLE_MODEL, "task": _TASK, **size}
    return build({"name": "demo", "rounds": _MOST_ROUNDS, "workload": workload, "cells": cells}, "demo")


def _engines(registry: Registry) -> list[type[Backend]]:
    """Return the backends that need no server."""
    return [backend for backend in registry.backends.values() if backend.residence == "in-process"]


def quantisations_for(backend: type[Backend]) -> list[str]:
    """Choose a backend's formats nearest to 32, 8 and 4.5 bits per weight; at least its default one."""
    offered = list(backend.quantisations())
    chosen = [found.name for bits in _BITS_WANTED if (found := _nearest(offered, bits)) is not None]
    return list(dict.fromkeys(chosen)) or [offered[0].name]


def _nearest(offered: Sequence[Quantisation], bits: float) -> Quantisation | None:
    known = [(q.bits_per_weight, q) for q in offered if q.bits_per_weight is not None]
    near = [(own, q) for own, q in known if max(own / bits, bits / own) <= _NEAR]
    return min(near, key=lambda pair: abs(pair[0] - bits), default=(0.0, None))[1]


def missing_backends(registry: Registry) -> Iterable[str]:
    """Say of every backend that is absent why, and the command that adds it."""
    for backend in _engines(registry):
        available = availability(backend)
        if not available.available:
            yield f"not measured: {backend.name}: {available.reason}" + (
                f"\n  {available.fix}" if available.fix else ""
            )
    for plugin in registry.plugins:
        if plugin.status != "ok":
            yield f"not measured: plugin {plugin.name} is {plugin.status}: {plugin.reason}"


def _announcement(plan: Plan, budget: float) -> str:
    cells = sum(len(spec.quantisation or [""]) for spec in plan.cells)
    return (
        f"{defaults.EXAMPLE_MODEL} on {len(plan.cells)} backends, {cells} cells, {plan.workload.samples} problems of "
        f"{_TASK}: as many rounds as fit into {budget:.0f} s after set-up, at least {defaults.DEMO_MIN_ROUNDS}"
    )


def _files(experiment: Experiment) -> Iterable[str]:
    """Write figures, CSV files and the page; return a line for each."""
    figures = [id for id, figure in installed_plugins().figures.items() if figure.topic == "comparison"]
    with experiment.open() as results:
        drawn = results.draw(figures, experiment.comparison)
        if drawn.missing:  # one backend alone has no speed-up to draw; the rest is there
            yield drawn.missing
        tables = results.export("csv")
        page = results.report(experiment.comparison, figures=figures)
    yield from (f"figure: {path}" for path in drawn.files)
    yield from (f"table:  {path}" for path in tables)
    yield f"page:   {page}"
