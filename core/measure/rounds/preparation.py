"""What is done before a cell's first round: is its engine there, its device, and its model converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...cache import ModelCache, sweep
from ...contract.launcher import Launcher
from ...contract.model import PreparedModel
from ...errors import BackendError
from ...host.availability import availability
from ...isolation.processes.messages import Devices, Prepared
from ..cells import Cell
from ..job import Job
from ..launcher import request
from ..progress import Progress


@dataclass(frozen=True, slots=True)
class PreparedCell:
    """What came of it.

    Attributes:
        model: as the backend opens it; None where that failed.
        seconds: that it took; None where nothing had to be done.
        reason: why the cell cannot run.
    """

    model: PreparedModel | None
    seconds: float | None
    reason: str | None = None


class Preparation:
    """Prepares cells, each kind once.

    Args:
        make_job: of a cell and an action.
        launcher: runs the workers.
        timeout_s: of each of them.
        cache: of prepared models.
        progress: told what is going on.
    """

    def __init__(
        self,
        make_job: Callable[[Cell, Any], Job],
        launcher: Launcher,
        timeout_s: float,
        cache: ModelCache,
        progress: Progress,
    ) -> None:
        self._make_job, self._launcher, self._timeout_s = make_job, launcher, timeout_s
        self._cache, self._progress = cache, progress
        self._prepared: dict[str, PreparedCell] = {}
        self._devices: dict[str, tuple[str, ...]] = {}  # by backend

    def of(self, cell: Cell) -> PreparedCell:
        """Prepare a cell in a throw-away process, or return what came of it before."""
        key = _key(cell)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(cell)
        return self._prepared[key]

    def model_of(self, cell: Cell) -> PreparedModel | None:
        """Return the model of a cell that is prepared already; None where it is not."""
        found = self._prepared.get(_key(cell))
        return None if found is None else found.model

    def _prepare(self, cell: Cell) -> PreparedCell:
        available = availability(cell.backend)
        if self._launcher.is_here and not available.available:
            fix = f"; {available.fix}" if available.fix else ""
            return PreparedCell(None, None, f"{available.reason}{fix}")
        self._progress.preparing(f"{cell.backend.name} {cell.quantisation}")
        try:
            self._check_device(cell)
            answer = request(self._make_job(cell, "prepare"), Prepared, self._timeout_s, self._launcher.run)
        except BackendError as error:
            return PreparedCell(None, None, f"cannot prepare the model: {error}")
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
            answer = request(self._make_job(cell, "devices"), Devices, self._timeout_s, self._launcher.run)
            self._devices[name] = answer.devices
        there = self._devices[name]
        if _kind(cell.device) not in map(_kind, there):
            raise BackendError(f"device {cell.device!r} is not there; {name} sees {', '.join(there)}")


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _key(cell: Cell) -> str:
    """Return what cells have in common whose models are prepared alike."""
    return f"{cell.backend.name}\0{cell.model.content_hash}\0{cell.quantisation}\0{cell.device}\0{cell.options}"
