"""A sweep preset of a plugin, made into a measurement for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cache import ModelCache
from ..contract.sweep import Sweep
from ..errors import ModelError, UsageError, unknown_name
from ..foreign_text import path_part
from ..host.availability import availability
from ..host.registry import Registry
from ..measure.models.formats import named_formats
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
    preset: Sweep,
    model: str,
    settings: Mapping[str, Any],
    fallbacks: Mapping[str, Any] | None = None,
    *,
    converts: bool = True,
) -> Measurement:
    """Expand a preset for a model.

    Args:
        preset: see ``find_sweep``.
        model: a named model, a path or a Hub id.
        settings: ``devices``, ``options`` (applied to every cell that has them), and those of workload and run.
        fallbacks: settings of workload and run where ``settings`` have none.
        converts: see ``cells.expand``.

    Raises:
        UsageError, ModelError: as ``experiment.measurement``.
    """
    registry = installed_plugins()
    made = preset.cells(resolve(model, registry.models, ModelCache()))
    parts = [dict(cell) for cell in made.cells]
    notes = list(made.notes)
    if made.is_over_engines:
        parts = [part for part in parts if _can_run(part, registry, notes)]
    backends = {part["backend"]: registry.backend(part["backend"]) for part in parts}
    span = Span.of(settings)
    options = set_options(span.options, backends, span.left_out)
    content: dict[str, Any] = {"cells": [_part(part, options, span.devices) for part in parts]}
    source = f"sweep {preset.name!r}"
    merge_settings(content, {**settings, "model": model}, fallbacks or {}, source)
    part = path_part(Path(model).name if "/" in model else model)
    content.setdefault("name", f"{preset.name}-{part}")
    if made.is_over_engines:
        content["cells"] = _of_model(content, source, notes)
    return measurement(build(content, source), [*notes, *span.left_out], converts=converts)


def _can_run(part: dict[str, Any], registry: Registry, notes: list[str]) -> bool:
    """Keep those formats of a part that its engine offers; return whether that can run here at all."""
    name = part["backend"]
    if name not in registry.backends:
        notes.append(f"backend {name!r} is not installed: left out")
        return False
    backend = registry.backends[name]
    found = availability(backend)
    if not found.available:
        notes.append(f"backend {name!r} cannot run here: {found.reason}: left out")
        return False
    offered = named_formats(backend)
    missing = [each for each in part.get("quantisation", ()) if each not in offered]
    notes += (f"backend {name!r} has no quantisation {each!r}: left out" for each in missing)
    if missing:
        part["quantisation"] = [each for each in part["quantisation"] if each in offered]
    return part.get("quantisation") != []


def _of_model(content: Mapping[str, Any], source: str, notes: list[str]) -> list[Mapping[str, Any]]:
    """Return the parts whose engines can run the model with this workload.

    Raises:
        UsageError, ModelError: none can; of the first.
    """
    kept: list[Mapping[str, Any]] = []
    errors: list[UsageError | ModelError] = []
    for part in content["cells"]:
        try:
            measurement(build({**content, "cells": [part]}, source), converts=False)
            kept.append(part)
        except (UsageError, ModelError) as error:
            errors.append(error)
            notes.append(f"backend {part['backend']!r}: {error}: left out")
    if not kept and errors:
        raise errors[0]
    return kept


def _part(part: dict[str, Any], options: Mapping[str, dict[str, Any]], devices: Sequence[str]) -> dict[str, Any]:
    part["options"] = {**part.get("options", {}), **options[part["backend"]]}
    return part | {"device": list(devices)} if devices else part
