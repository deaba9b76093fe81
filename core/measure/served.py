"""Opening one backend for requests: found, prepared and loaded as a cell of a run is, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from ... import defaults
from ..cache import ModelCache
from ..errors import UsageError
from ..host.packed_models import ModelJob, PreparedJob
from ..host.registry import Registry
from ..isolation.plugins import all_plugins
from .cells import Cell, expand, job_fields
from .job import Job
from .launcher import Served, request
from .plan import build


def one_cell(
    backend: str, model: str, options: Mapping[str, JsonValue], **further: JsonValue
) -> tuple[Cell, Registry, ModelCache]:
    """Resolve names to one cell.

    Args:
        backend: its name.
        model: a named model, a path or a Hub id.
        options: of the backend.
        further: ``quantisation``, ``device`` and the workload's ``batch_size``, where they are not the defaults.

    Raises:
        UsageError: a name, an option or a value that does not exist, or several values where one can be opened.
        ModelError: the model cannot be found.
    """
    batch_size = further.pop("batch_size", 1)
    spec = {"backend": backend, "options": dict(options), **further}
    plan = build({"workload": {"model": model, "batch_size": batch_size}, "cells": [spec]}, "model_args")
    cache = ModelCache()
    registry = all_plugins()
    cells = expand(plan, registry, cache).cells
    if len(cells) > 1:
        raise UsageError(f"{len(cells)} cells of backend {backend!r}, where one can be opened: give one value each")
    available = cells[0].backend.probe()
    if not available.available:
        raise UsageError(f"backend {backend!r} cannot run here: {available.reason}; {available.fix or ''}".rstrip("; "))
    return cells[0], registry, cache


def open_cell(cell: Cell, registry: Registry, cache: ModelCache, timeout_s: float = defaults.TIMEOUT_S) -> Served:
    """Prepare the cell's model and load it.

    Raises:
        BackendError: it cannot be prepared or loaded.
    """
    job = Job(
        action="prepare",
        **job_fields(cell, registry),
        model=ModelJob.of(cell.model),
        cache_root=cache.root,
    )
    prepared = PreparedJob.model_validate(request(job, "prepared", timeout_s)["model"])
    return Served(job.model_copy(update={"action": "serve", "model": None, "prepared": prepared}), timeout_s)
