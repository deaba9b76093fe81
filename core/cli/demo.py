"""``demo``: the whole way, from every available backend to a table, figures and a page, on the tiny models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from ... import defaults
from ..cache import ModelCache
from ..contract.backend import Backend
from ..contract.model import Quantisation
from ..errors import UsageError
from ..host.availability import availability
from ..host.registry import Registry
from ..measure.cells import expand
from ..measure.plan import Plan, build
from ..measure.progress import Progress
from ..measure.runner import Budget, Runner, RunReport
from ..sdk.models import example_model
from .installed import installed_plugins
from .output import CONTEXT, console, json_option
from .run import conclude
from .settings import check_config

_TASK = "tiny-gsm"
_BITS_WANTED = (32.0, 8.0, 4.5)  # 4-bit formats carry half a bit of scales
_NEAR = 1.5  # a format within this factor of the wanted bits stands for it
_MOST_ROUNDS = 30


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.option(
    "--budget",
    type=click.FloatRange(0),
    default=defaults.DEMO_BUDGET_S,
    help=f"Seconds to measure for, set-up not counted; {defaults.DEMO_MIN_ROUNDS} rounds run in any case.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder.")
@json_option
@click.pass_context
def demo(ctx: click.Context, budget: float, output: Path, as_json: bool) -> int:
    """Compare every available backend on the built-in tiny models."""
    check_config(ctx)
    registry, cache = installed_plugins(), ModelCache()
    plan = demo_plan(registry)
    if not as_json:
        click.echo(_announcement(plan, budget))
    progress = Progress(console(stderr=True))
    runner = Runner(plan, expand(plan, registry, cache), registry, cache, output, progress)
    report = runner.run(fresh=True, budget=Budget(budget, defaults.DEMO_MIN_ROUNDS))
    code = conclude(runner, report, as_json=as_json)
    if report.done and not report.interrupted:
        for line in _files(runner, report):
            click.echo(line, err=as_json)
    for line in missing_backends(registry):
        click.echo(line, err=as_json)
    return code


def demo_plan(registry: Registry) -> Plan:
    """Build the demo's plan: every available backend at full precision and near 8 and 4 bits.

    Raises:
        UsageError: no backend is available; says how to get each.
    """
    available = [backend for backend in registry.backends.values() if availability(backend).available]
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


def quantisations_for(backend: type[Backend]) -> list[str]:
    """Choose a backend's formats nearest to 32, 8 and 4.5 bits per weight; at least its default one."""
    offered = list(backend.quantisations())
    chosen = [found.name for bits in _BITS_WANTED if (found := _nearest(offered, bits)) is not None]
    return list(dict.fromkeys(chosen)) or [offered[0].name]


def _nearest(offered: Sequence[Quantisation], bits: float) -> Quantisation | None:
    near = [q for q in offered if max(q.bits_per_weight / bits, bits / q.bits_per_weight) <= _NEAR]
    return min(near, key=lambda q: abs(q.bits_per_weight - bits), default=None)


def missing_backends(registry: Registry) -> Iterable[str]:
    """Say of every backend that is absent why, and the command that adds it."""
    for backend in registry.backends.values():
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


def _files(runner: Runner, report: RunReport) -> Iterable[str]:
    """Write figures, CSV files and the page; return a line for each."""
    from ...collate.comparison.compare import compare
    from ...collate.comparison.reproduce import plan_toml
    from ...collate.exporters.csv_tables import export_csv
    from ...viz.plot import MissingDataError
    from ...viz.report import write_report
    from ..records.store import Store
    from .drawing import draw_all

    figures = [figure for figure in runner.registry.figures.values() if figure.topic == "comparison"]
    with Store.open(runner.output) as store:
        comparison = compare(store, experiment=report.experiment, further=runner.registry.findings.values)
        try:
            drawn = draw_all(store, figures, report.experiment, None, runner.output / "figures", defaults.FIGURE_FORMAT)
        except MissingDataError as missing:  # one backend alone has no speed-up to draw; the rest is there
            drawn = missing.written
            yield str(missing)
        tables = export_csv(store, runner.output)
        plan = plan_toml(store, report.experiment)
        page = write_report(store, comparison, runner.output / "report.html", figures=figures, reproduce=plan)
    yield from (f"figure: {path}" for path in drawn)
    yield from (f"table:  {path}" for path in tables)
    yield f"page:   {page}"
