"""A sweep preset of a plugin, made into a measurement for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cache import ModelCache
from ..contract.sweep import Sweep
from ..errors import unknown_name
from ..foreign_text import path_part
from ..measure.plan import build
from ..sdk.models import resolve
from .experiment import Measurement, measurement
from .plan_content import Span, merge_settings, set_options
from .plugins import installed_plugins


def find_sweep(name: str) -> Sweep:
    """Return a preset; raises ``UsageError`` with the nearest name where there is none."""
    presets = installed_plugins().sweeps
    if name not in presets:
        raise unknown_name("sweep", name, presets, "`decodebench sweep --list` says what each varies")
    return presets[name]


def planned_sweep(
    preset: Sweep, model: str, settings: Mapping[str, Any], fallbacks: Mapping[str, Any] | None = None
) -> Measurement:
    """Expand a preset for a model.

    Args:
        preset: see ``find_sweep``.
        model: a named model, a path or a Hub id.
        settings: ``devices``, ``options`` (applied to every cell that has them), and those of workload and run.
        fallbacks: settings of workload and run where ``settings`` have none.

    Raises:
        UsageError, ModelError: as ``experiment.measurement``.
    """
    registry = installed_plugins()
    made = preset.cells(resolve(model, registry.models, ModelCache()))
    backends = {cell["backend"]: registry.backend(cell["backend"]) for cell in made.cells}
    span = Span.of(settings)
    options = set_options(span.options, backends, span.left_out)
    cells = [_cell(dict(cell), options, span.devices) for cell in made.cells]
    content: dict[str, Any] = {"cells": cells}
    source = f"sweep {preset.name!r}"
    merge_settings(content, {**settings, "model": model}, fallbacks or {}, source)
    part = path_part(Path(model).name if "/" in model else model)
    content.setdefault("name", f"{preset.name}-{part}")
    return measurement(build(content, source), [*made.notes, *span.left_out])


def _cell(cell: dict[str, Any], options: Mapping[str, dict[str, Any]], devices: Sequence[str]) -> dict[str, Any]:
    cell["options"] = {**cell.get("options", {}), **options[cell["backend"]]}
    return cell | {"device": list(devices)} if devices else cell
