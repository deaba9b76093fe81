"""One backend for requests, one model found, models prepared ahead of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ... import defaults
from ..cache import ModelCache, sweep
from ..contract.backend import Backend
from ..contract.model import ResolvedModel
from ..errors import UsageError
from ..host.packed_models import ModelJob
from ..isolation.processes.messages import Prepared
from ..measure.cells import Cell, expand, job_fields
from ..measure.job import PrepareJob, ServeJob
from ..measure.launcher import Served, request
from ..measure.plan import build
from ..records.serving import ServeRequest
from ..sdk.models import resolve
from .plugins import installed_plugins


class OpenBackend:
    """A backend with a loaded model, in a separate process that ends with ``close`` or with this one.

    Attributes:
        backend: its class.
        model: the model, found on disk.
        quantisation: weight format in the backend's words.
        context_length: of the model, in tokens.
    """

    def __init__(self, cell: Cell, served: Served) -> None:
        self.backend: type[Backend] = cell.backend
        self.model: ResolvedModel = cell.model
        self.quantisation = cell.quantisation
        self.context_length = served.context_length
        self._served = served

    @property
    def clipped(self) -> int:
        """Number of prompts so far that lost their beginning because they exceed the context."""
        return self._served.clipped

    def ask(self, asked: ServeRequest) -> list[Any]:
        """Return a value for each prompt of a request, see ``ServeRequest``.

        Raises:
            BackendError: this request failed, or the process ended.
        """
        return self._served.ask(asked)

    def close(self) -> None:
        """End the process."""
        self._served.close()

    def __enter__(self) -> OpenBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_backend(
    backend: str,
    model: str,
    *,
    quantisation: str | None = None,
    device: str | None = None,
    batch_size: int = 1,
    options: Mapping[str, JsonValue] | None = None,
) -> OpenBackend:
    """Open one backend for requests: prepared and loaded like a cell of a run.

    Args:
        backend: its name.
        model: a named model, a path or a Hub id.
        quantisation: weight format in the backend's words; None: its first one.
        device: ``cpu``, ``cuda:0``, ...; None: ``cpu``.
        batch_size: texts generated together.
        options: of the backend.

    Raises:
        UsageError: a name, an option or a value that does not exist, or several values where one can be opened.
        ModelError: the model cannot be found.
        BackendError: it cannot be prepared or loaded.
    """
    spec: dict[str, Any] = {"backend": backend, "options": dict(options or {})}
    spec |= {key: text for key, text in (("quantisation", quantisation), ("device", device)) if text}
    plan = build({"workload": {"model": model, "batch_size": batch_size}, "cells": [spec]}, "open_backend")
    cells = expand(plan, installed_plugins(), ModelCache()).cells
    if len(cells) > 1:
        raise UsageError(
            f"{len(cells)} cells of backend {backend!r}, and only one can be opened: give one value per option",
            code="one-cell-needed",
        )
    available = cells[0].backend.probe()
    if not available.available:
        raise UsageError(
            f"backend {backend!r} cannot run here: {available.reason}; {available.fix or ''}".rstrip("; "),
            code="no-engine",
        )
    prepared = request(_prepare_job(cells[0]), Prepared, defaults.TIMEOUT_S).model
    serving = ServeJob(**_about(cells[0]), prepared=prepared)
    return OpenBackend(cells[0], Served(serving, defaults.TIMEOUT_S))


def find_model(name: str) -> ResolvedModel:
    """Find the model called ``name``: a named model of a plugin, a path or a Hub id.

    Raises:
        UsageError: the name is none of the three.
        ModelError: the path has no model, or the Hub does not provide it.
    """
    return resolve(name, installed_plugins().models, ModelCache())


def prepare(model: str, backend: str, quantisations: Sequence[str] = (), device: str = "cpu") -> list[dict[str, Any]]:
    """Convert or quantise a model for a backend, into the cache.

    Returns:
        For each quantisation the prepared model's fields, ``prepare_s``, which is the time of a check where it was
        there, and ``notices`` of what was damaged and made again.

    Raises:
        UsageError, ModelError, BackendError: as ``open_backend``.
    """
    spec = {"backend": backend, "device": device} | ({"quantisation": list(quantisations)} if quantisations else {})
    plan = build({"workload": {"model": model}, "cells": [spec]}, "prepare")
    done, cache = [], ModelCache()
    for cell in expand(plan, installed_plugins(), cache).cells:
        try:
            answer = request(_prepare_job(cell), Prepared, defaults.TIMEOUT_S)
        finally:
            sweep(cache.root)
        made = {"prepare_s": answer.prepare_s, "notices": [*cache.notices, *answer.notices]}
        done.append({"quantisation": cell.quantisation, **made, **answer.model.model_dump(mode="json")})
    return done


def _prepare_job(cell: Cell) -> PrepareJob:
    return PrepareJob(**_about(cell), model=ModelJob.of(cell.model))


def _about(cell: Cell) -> dict[str, Any]:
    return {**job_fields(cell, installed_plugins()), "cache_root": ModelCache().root}
