"""What is done before a cell's first round: is its engine there, its device, and its model converted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .... import defaults
from ...cache import ModelCache, sweep
from ...contract.launcher import Launcher, Outcome
from ...contract.model import PreparedModel
from ...errors import BackendError
from ...files import size_text
from ...host.availability import availability
from ...host.packed_models import ModelJob
from ...isolation.processes.messages import Devices, Prepared
from ...records.cell_names import weight_format
from ...sdk.models import model_bytes
from ..cells import Cell
from ..job import DevicesJob, PrepareJob
from ..launcher import request
from ..progress import Progress

_LINE_BYTES = 400  # a step line with its text, generously


@dataclass(frozen=True, slots=True)
class PreparedCell:
    """What came of it.

    Attributes:
        model: as the backend opens it; None where that failed.
        seconds: that it took; None where nothing had to be done.
        reason: why the cell cannot run.
        code: of the reason, see ``core/errors.py``.
    """

    model: PreparedModel | None
    seconds: float | None
    reason: str | None = None
    code: str | None = None


class Preparation:
    """Prepares cells, each kind once.

    Args:
        about: the fields of a cell's jobs.
        launcher: runs the workers.
        timeout_s: of each of them.
        cache: of prepared models.
        progress: told what is going on.
    """

    def __init__(
        self,
        about: Callable[[Cell], Mapping[str, Any]],
        launcher: Launcher,
        timeout_s: float,
        cache: ModelCache,
        progress: Progress,
    ) -> None:
        self._about, self._launcher, self._timeout_s = about, launcher, timeout_s
        self._cache, self._progress = cache, progress
        self._prepared: dict[str, PreparedCell] = {}
        self._devices: dict[str, tuple[str, ...]] = {}  # by backend

    def of(self, cell: Cell) -> PreparedCell:
        """Prepare a cell in a throw-away process, or return what came of it before."""
        key = _key(cell)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(cell)
        return self._prepared[key]

    def weight_bytes(self, cell: Cell) -> int:
        """Return the size of the prepared weights; of those that they are made from, where that was not done yet."""
        if cell.backend.residence == "remote":
            return 0
        found = self._prepared.get(_key(cell))
        model = None if found is None else found.model
        return (model.weight_bytes if model is not None else None) or model_bytes(cell.model)

    def shortage(self, cell: Cell, output: Path, memory_limit_bytes: int | None) -> Outcome | None:
        """Return the outcome of a round for which something is too scarce; None if memory and disk suffice.

        Args:
            cell: that is to run.
            output: folder of its log.
            memory_limit_bytes: of the worker; None: no limit.
        """
        needed = int(self.weight_bytes(cell) * defaults.MEMORY_HEADROOM)
        memory, limit = psutil.virtual_memory().available, memory_limit_bytes
        is_here = self._launcher.is_here and cell.backend.residence != "remote"
        if is_here and cell.device == "cpu" and needed > min(memory, limit or memory):
            what = "is allowed" if limit is not None and limit < memory else "is free"
            have = size_text(min(memory, limit or memory))
            words = f"too little memory: about {size_text(needed)} needed, {have} {what}"
            return Outcome("skipped", words, code="out-of-memory")
        workload = cell.workload
        log_bytes = (workload.measured + workload.warmup) * (workload.token_limit + 4) * _LINE_BYTES
        free = shutil.disk_usage(output).free
        if log_bytes > free:
            words = (
                f"too little disk in {output}: about {size_text(log_bytes)} needed for the log, {size_text(free)} free"
            )
            return Outcome("skipped", words, code="no-disk-space")
        return None

    def _prepare(self, cell: Cell) -> PreparedCell:
        available = availability(cell.backend)
        if self._launcher.is_here and not available.available:
            fix = f"; {available.fix}" if available.fix else ""
            return PreparedCell(None, None, f"{available.reason}{fix}", "no-engine")
        self._progress.preparing(f"{cell.backend.name} {weight_format(cell.quantisation, cell.traits.options)}")
        try:
            self._check_device(cell)
        except BackendError as error:
            return PreparedCell(None, None, str(error), error.code)
        try:
            job = PrepareJob(**self._about(cell), model=ModelJob.of(cell.model))
            answer = request(job, Prepared, self._timeout_s, self._launcher.run)
        except BackendError as error:
            return PreparedCell(None, None, f"cannot prepare the model: {error}", error.code)
        finally:
            sweep(self._cache.root)
        for notice in answer.notices:
            self._progress.say(notice)
        return PreparedCell(answer.model.unpack(), answer.prepare_s)

    def _check_device(self, cell: Cell) -> None:
        """Refuse a device that the engine does not see, before each round would find that out.

        Raises:
            BackendError: it is not there.
        """
        name = cell.backend.name
        if cell.device == "cpu" or cell.backend.residence != "in-process":
            return
        if name not in self._devices:
            job = DevicesJob(**self._about(cell))
            answer = request(job, Devices, self._timeout_s, self._launcher.run)
            self._devices[name] = answer.devices
        there = self._devices[name]
        if not is_seen(cell.device, there):
            raise BackendError(
                f"device {cell.device!r} is not there; {name} sees {', '.join(there)}", code="device-missing"
            )


def is_seen(asked: str, there: Sequence[str]) -> bool:
    """Whether a device is among those that an engine sees, with a number where those have them."""
    kind, colon, number = asked.partition(":")
    if not colon:
        return kind in {device.partition(":")[0] for device in there}
    return asked in there or (kind in there and number.isdecimal())


def _key(cell: Cell) -> str:
    """Return what cells have in common whose models are prepared alike."""
    return f"{cell.backend.name}\0{cell.model.content_hash}\0{cell.quantisation}\0{cell.device}\0{cell.options}"
