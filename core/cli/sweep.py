"""``sweep``: run a preset matrix of a plugin, then draw its figures and write its table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cache import ModelCache
from ..contract.sweep import Sweep
from ..errors import UsageError, unknown_name
from ..host.registry import Registry
from ..measure.plan import build
from ..sdk.models import resolve
from .installed import installed_plugins
from .output import CONTEXT, print_json, print_table
from .plan_flags import MatrixFlags, merge_flags, set_options
from .run import execute, run_options, workload_options
from .settings import check_config

if TYPE_CHECKING:
    from ..contract.figure import Figure
    from ..records.store import Store


@click.command(context_settings={**CONTEXT, "show_default": True})
@click.argument("preset", metavar="[NAME]", required=False)
@click.option("-m", "--model", metavar="MODEL", help="Named model, path or Hub id.")
@click.option("-d", "--device", "devices", multiple=True, metavar="NAME", help="Device; may be repeated.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[BACKEND.]OPTION=V1,V2",
    help="Set an option in every cell that has it.",
)
@click.option("--list", "only_list", is_flag=True, help="List the presets.")
@workload_options
@run_options
@click.pass_context
def sweep(ctx: click.Context, /, **flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Run a preset matrix of a plugin, such as block sizes; without NAME, list them."""
    check_config(ctx)
    registry = installed_plugins()
    if flags["only_list"] or not flags["preset"]:
        _show_presets(registry, flags["as_json"])
        return 0
    preset = registry.sweeps.get(flags["preset"])
    if preset is None:
        raise unknown_name(
            "sweep", flags["preset"], registry.sweeps, "`decodebench sweep --list` says what each varies"
        )
    if not flags["model"]:
        raise UsageError(f"sweep {preset.name!r} needs a model: give -m MODEL (see `decodebench models`)")
    content, notes = _content(ctx, preset, flags, registry)
    code = execute(build(content, f"sweep {preset.name!r}"), registry, flags, notes)
    if code == 0 and not flags["dry_run"]:
        _write(registry, preset, flags["output"], content["name"], quiet=flags["as_json"])
    return code


def _content(
    ctx: click.Context, preset: Sweep, flags: dict[str, Any], registry: Registry
) -> tuple[dict[str, Any], list[str]]:
    """Return the plan's content, and what was left out of the preset or does not apply."""
    made = preset.cells(resolve(flags["model"], registry.models, ModelCache()))
    names = list(dict.fromkeys(cell["backend"] for cell in made.cells))
    matrix = MatrixFlags(names, [flags["model"]], (), flags["devices"], flags["settings"])
    options = set_options(matrix, {name: registry.backend(name) for name in names})
    content: dict[str, Any] = {"cells": [_cell(dict(cell), options, flags["devices"]) for cell in made.cells]}
    merge_flags(ctx, content, [flags["model"]], f"sweep {preset.name!r}")
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(flags["model"]).name if "/" in flags["model"] else flags["model"])
    content.setdefault("name", f"{preset.name}-{slug.strip('-.')}")
    return content, [*made.notes, *matrix.left_out]


def _cell(cell: dict[str, Any], options: dict[str, dict[str, Any]], devices: tuple[str, ...]) -> dict[str, Any]:
    cell["options"] = {**cell.get("options", {}), **options[cell["backend"]]}
    return cell | {"device": list(devices)} if devices else cell


def _write(registry: Registry, preset: Sweep, folder: Path, experiment: str, *, quiet: bool) -> None:
    """Draw the preset's figures and write its table; on standard error where standard output is JSON."""
    from .results import open_store

    with open_store(folder) as store:
        figures = [registry.figures[name] for name in preset.figures]
        written = _drawn(store, figures, experiment, folder / "figures")
        lines = [str(path) for path in written]
        if preset.exporter is not None:
            tables = registry.exporters[preset.exporter].write(store, experiment, folder / preset.name)
            lines.append(f"{folder / preset.name} ({len(tables)} files, format {preset.exporter})")
    for line in lines:
        click.echo(line, err=quiet)


def _drawn(store: Store, figures: Sequence[Figure], experiment: str, folder: Path) -> list[Path]:
    """Draw what the store supports; a sweep that was narrowed by ``--set`` may lack what a figure needs."""
    from ...viz.plot import MissingDataError
    from .drawing import draw_all

    try:
        return draw_all(store, figures, experiment, None, folder, "png")
    except MissingDataError as missing:
        click.echo(f"not drawn: {missing}", err=True)
        return missing.written


def _show_presets(registry: Registry, as_json: bool) -> None:
    rows = [
        {
            "sweep": name,
            "plugin": registry.provider("decodebench_sweeps", name).name,
            "varies": preset.summary,
        }
        for name, preset in registry.sweeps.items()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(["sweep", "plugin", "varies"], [list(row.values()) for row in rows], empty="no sweep")
