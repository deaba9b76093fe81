"""``demo``: from the engines that are installed to a table and a page in two and a half minutes, on the tiny models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import defaults
from ..api.plugins import installed_plugins
from ..contract.backend import Backend
from ..contract.model import Quantisation
from ..errors import DecodebenchError, UsageError
from ..host.availability import availability
from ..host.registry import Registry
from ..measure.forecast.time_left import duration
from ..measure.plan import Plan, build
from ..measure.progress import Progress
from ..sdk.models import example_model
from ..sdk.sizes import Duration
from .output import CONTEXT, console, echo, json_option
from .plan_flags import busy_options, quiet_option, when_busy
from .run import conclude
from .settings import check_config

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..api.comparison import Comparison
    from ..api.experiment import Experiment, Measurement
    from ..api.stages import Stages
    from ..measure.cells import Cell

_TASK = "tiny-gsm"
_FULL_BITS, _FEW_BITS = 32.0, 4.5  # 4-bit formats carry half a bit of scales
_NEAR = 1.5  # a format within this factor of the wanted bits stands for it


@click.command(context_settings=CONTEXT)
@click.option(
    "--first",
    type=Duration(),
    default=f"{defaults.DEMO_FIRST_S:g}s",
    help="Time until the first table, set-up excluded.",
)
@click.option(
    "--limit", type=Duration(), default=f"{defaults.DEMO_LIMIT_S:g}s", help="Total time limit, set-up excluded."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder.")
@busy_options
@quiet_option
@json_option
@click.pass_context
def demo(ctx: click.Context, /, first: float, limit: float, output: Path, as_json: bool, **flags: Any) -> int:  # noqa: ANN401
    """Compare the installed engines on the built-in tiny models.

    The first table compares two engines; the others follow while time is left.
    """
    check_config(ctx)
    from ..api.experiment import measurement
    from ..api.stages import Stages

    registry = installed_plugins()
    plan = demo_plan(registry)
    found = measurement(plan)
    cells = first_cells(found.matrix.cells)
    measuring_s = max(limit - defaults.DEMO_PAGE_S, 0.0)
    stages = Stages([cell.id for cell in cells], min(first, measuring_s), measuring_s)
    if not as_json:
        echo(_announcement(found, stages))
    experiment = _measured(found, output, stages, flags, as_json=as_json)
    experiment.report.cut.clear()  # by the time that was announced
    code = conclude(experiment, as_json=as_json)
    if experiment.report.done and not experiment.report.interrupted:
        for line in _next(experiment, plan):
            echo(line, err=as_json)
    for line in missing_backends(registry):
        echo(line, err=as_json)
    return code


def _measured(
    found: Measurement,
    output: Path,
    stages: Stages,
    flags: Mapping[str, Any],
    *,
    as_json: bool,
) -> Experiment:
    """Measure in two stages; the first table is printed, and on a terminal drawn again in place after each round."""
    from ..api.results import open as open_results
    from ..api.stages import run_in_stages

    shown = console(stderr=True)
    progress = Progress(shown, is_quiet=flags["quiet"])

    def redraw() -> None:
        with suppress(DecodebenchError), open_results(output) as results:
            progress.show_above(_table(results.compare()))

    def on_first(comparison: Comparison) -> None:
        if shown.is_terminal:
            progress.show_above(_table(comparison))
            progress.on_round = redraw
        elif not as_json:
            console().print(_table(comparison))

    return run_in_stages(found, output, stages, when_busy=when_busy(flags), progress=progress, on_first=on_first)


def _table(comparison: Comparison) -> RenderableType:
    from ...viz.terminal.tables import comparison_view

    return comparison_view(comparison)


def first_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Choose the cells of the first table: the reference, and another engine that decodes as it does in two formats."""
    reference = cells[0]
    other = next((cell for cell in cells[1:] if cell.backend.kind == reference.backend.kind), reference)
    return [cell for cell in cells if cell.backend.name in (reference.backend.name, other.backend.name)]


def demo_plan(registry: Registry) -> Plan:
    """Build the demo's plan: every available backend at full precision, the second one near 4 bits too.

    Raises:
        UsageError: no backend is available; says how to get each.
    """
    available = [backend for backend in _engines(registry) if availability(backend).available]
    available.sort(key=lambda backend: (not backend.is_reference, backend.name))
    if not available:
        raise UsageError("\n".join(["no backend is available", *missing_backends(registry)]), code="no-engine")
    second = next((one for one in available[1:] if one.kind == available[0].kind), None)
    cells = [
        {
            "backend": backend.name,
            "model": example_model(backend.name, registry.models),
            "quantisation": formats_of(backend, *([_FULL_BITS, _FEW_BITS] if backend is second else [_FULL_BITS])),
        }
        for backend in available
    ]
    size = {"samples": defaults.DEMO_PROBLEMS, "warmup": defaults.WARMUP}
    workload = {"model": defaults.EXAMPLE_MODEL, "task": _TASK, **size}
    # By round, though all would fit into memory: a block measures nothing before its slowest engine is loaded, and one
    # that the limit cuts short may leave no engine with a sample. The first table has to come within a minute.
    content = {"name": "demo", "rounds": defaults.DEMO_ROUNDS, "interleave": "rounds", "workload": workload}
    return build(content | {"cells": cells}, "demo")


def _engines(registry: Registry) -> list[type[Backend]]:
    """Return the backends that need no server."""
    return [backend for backend in registry.backends.values() if backend.residence == "in-process"]


def formats_of(backend: type[Backend], *bits: float) -> list[str]:
    """Choose a backend's formats nearest to some bits per weight; at least its default one."""
    offered = [each for each in backend.quantisations() if "safetensors" in each.reads]
    chosen = [found.name for wanted in bits if (found := _nearest(offered, wanted)) is not None]
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


def _announcement(found: Measurement, stages: Stages) -> str:
    plan, labels = found.plan, found.matrix.labels
    others = len(found.matrix.cells) - len(stages.first)
    then = f"; then {others} more until {duration(stages.limit_s)}" if others else ""
    return (
        f"{defaults.EXAMPLE_MODEL}, {plan.workload.samples} problems of {_TASK}: first "
        f"{', '.join(map(labels.__getitem__, stages.first))} for {duration(stages.first_s)}{then}, set-up apart; up to "
        f"{plan.rounds} rounds of each"
    )


def _next(experiment: Experiment, plan: Plan) -> Iterable[str]:
    """Write the page; say where it is and what to do next."""
    engines = " ".join(f"-b {spec.backend}" for spec in plan.cells[:2])
    with experiment.open() as results:
        page = results.report(experiment.comparison, figures=[])
    folder = experiment.folder
    yield ""
    yield f"page: {page}"
    yield "next:"
    yield f"  decodebench plot {folder}: figures of this run"
    yield f"  decodebench run {engines} -m MODEL: your own model, a folder, a .gguf file or a Hub id"
    yield "  decodebench backends: what else can be measured here, and how to get it"
