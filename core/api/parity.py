"""Parity: every cell of a matrix against one reference cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...collate.parity.matrix import ParityMatrix
from ...collate.parity.reference import hold_against_reference
from ..contract.backend import Backend
from ..errors import DecodebenchError, UsageError, unknown_name
from ..host.registry import Registry
from ..measure.models.formats import ChosenFormat, named_formats
from ..measure.plan import build
from ..measure.rounds.report import RunReport
from .experiment import Measurement, Reporter, measurement
from .plan_content import SPAN, Span, merge_settings
from .plugins import installed_plugins


def planned_parity(settings: Mapping[str, Any], reference: str | None = None) -> Measurement:
    """Expand a matrix whose first cell is the reference, each cell once.

    Args:
        settings: as ``experiment.run`` takes them.
        reference: ``BACKEND`` or ``BACKEND:QUANTISATION``, of which common names are understood too; None: the backend
            that calls itself the reference. It has the first device, and of options that are swept the first value.

    Raises:
        UsageError: an unknown name, or no reference.
        ModelError: a model cannot be found.
    """
    registry = installed_plugins()
    backend, chosen = _reference(reference, registry)
    others = Span.of(settings)
    mine = {key: value for key, value in others.options.items() if _is_for(backend, key)}
    (spec,) = Span([backend.name], devices=others.devices[:1], options=mine).cells(registry)
    options = {name: value[0] if isinstance(value, list) else value for name, value in spec["options"].items()}
    options |= chosen.options  # a common name is a choice for the reference alone, whatever the others have
    if backend.name not in others.backends:
        others.options = {key: value for key, value in others.options.items() if not key.startswith(f"{backend.name}.")}
    cells = [spec | {"quantisation": chosen.quantisation.name, "options": options}, *others.cells(registry)]
    content: dict[str, Any] = {"cells": cells}
    own = {name: value for name, value in settings.items() if name not in SPAN}
    # a model at a time: nothing is timed, and an interruption keeps the cells that are finished
    merge_settings(content, own | {"rounds": 1, "interleave": "rounds"}, {}, "parity")
    return measurement(build(content, "parity"), others.left_out)


def measure_parity(
    planned: Measurement, output: Path, *, fresh: bool = False, progress: Reporter = None
) -> tuple[RunReport, ParityMatrix | None]:
    """Run every cell that is not there yet, score what is not scored, judge; None where the run ended early.

    Raises:
        DecodebenchError: what was scored cannot be kept.
    """
    runner = planned.runner(output, progress)
    report = runner.run(fresh=fresh)
    if report.stopped or report.interrupted:
        return report, None
    try:
        return report, hold_against_reference(runner, report)
    except OSError as error:
        raise DecodebenchError(f"cannot keep what was scored: {error}; the raw logs are untouched") from error


def _reference(text: str | None, registry: Registry) -> tuple[type[Backend], ChosenFormat]:
    """Return the backend and the weight format that ``text`` names, or the one that calls itself reference."""
    name, _, quantisation = (text or "").partition(":")
    if name:
        backend = registry.backend(name)
    else:
        named = [backend for backend in registry.backends.values() if backend.is_reference]
        if not named:
            raise UsageError(
                "no backend is declared the reference; give --reference BACKEND[:QUANT]", code="missing-flag"
            )
        backend = named[0]
    known = named_formats(backend)
    if quantisation and quantisation not in known:
        raise unknown_name(f"quantisation of backend {backend.name!r}", quantisation, known)
    return backend, known[quantisation or backend.quantisations()[0].name]


def _is_for(backend: type[Backend], key: str) -> bool:
    """Whether ``option`` or ``backend.option`` is an option of this backend."""
    name, _, option = key.rpartition(".")
    return name == backend.name or (not name and option in backend.Options.model_fields)
