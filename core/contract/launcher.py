"""What a launcher is to the host: it runs workers, on this machine or another, and hands on what they send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...defaults import PLACEMENT_TIMEOUT_S
from ..records.schema import Environment, Status
from .requirements import Availability

Line = dict[str, Any]
"""What a worker sends: a JSON object with its ``type``."""

OnLine = Callable[[Line], None]
"""Takes one line; may raise, which ends the worker and is passed on."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a machine must have for a cell.

    Attributes:
        device: ``cpu``, ``cuda:0``, ...
        backend: name of the engine that must be installed.
    """

    device: str
    backend: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worker runs at a time: a device of a machine.

    Attributes:
        id: of the machine within its launcher.
        host: its name or address, for people; places of one host share its measured rates.
        device: ``cpu``, ``cuda:0``, ...; the first of a kind may omit its number.
        backends: names of the engines that are installed there.
    """

    id: str
    host: str
    device: str
    backends: frozenset[str]

    def takes(self, need: Need) -> bool:
        """Say whether a worker with a need can run there."""
        same_device = need.device.removesuffix(":0") == self.device.removesuffix(":0")
        return same_device and need.backend in self.backends


@dataclass(frozen=True, slots=True)
class Launch:
    """One worker to run: a fresh process that does one job and ends.

    Attributes:
        job: the job, a line of JSON that a launcher passes on unchanged.
        need: what the machine must have; the worker computes on its device.
        is_preparation: whether it prepares a model in the cache, which rounds with this need rely on.
        threads: CPUs that it uses; None: those of the machine.
        timeout_s: it is killed after this many seconds.
        engine_text: file for the engine's output; None: discard it.
        place: where to run it, one of ``Launcher.places``; None: the launcher's choice.
    """

    job: str
    need: Need
    is_preparation: bool
    threads: int | None
    timeout_s: float
    engine_text: Path | None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended.

    Attributes:
        status: ``ok``, ``failed`` (it said why), ``crashed`` (it died) or ``timeout`` (it was stopped).
        reason: one sentence, None when ok.
        peak_rss_bytes: its own report of its memory, if it gave one.
        is_lost: whether the machine was lost, not the worker: the host discards its lines and launches it again.
        code: stable code of the reason, for programs (docs/errors.md).
    """

    status: Status
    reason: str | None = None
    peak_rss_bytes: int | None = None
    is_lost: bool = False
    code: str | None = None


class Launcher(ABC):
    """Where workers run. The host makes one instance for an experiment and runs one worker at a time.

    One that can use several machines at once says so by ``places``: of an experiment across hosts every place runs one
    worker at a time, and ``run`` is then called from several threads, each with its place.

    A launcher that reaches another machine calls ``decodebench.run_here`` there, with ``engine_text`` replaced by a
    file of that machine, and sends the lines back. Model files and the cache must be at the same paths on both.

    Attributes:
        name: what ``--launcher`` takes.
        summary: one line for listings.
        is_here: whether workers run on this machine, so that what the host measures of it while they run is theirs.
            Where they do not, load, devices, memory and engine versions of this machine are left out of the records.
        address: of the cluster, as the user gave it; None: from the launcher's own settings. Set by the host, like
            the next.
        placement_timeout_s: how long to wait for a machine that can take a worker, in seconds.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    is_here: ClassVar[bool] = False
    address: str | None = None
    placement_timeout_s: float = PLACEMENT_TIMEOUT_S

    @classmethod
    def probe(cls) -> Availability:
        """Say whether it can be used, without importing its dependencies."""
        return Availability(True)

    def choose(self, needs: Collection[Need]) -> None:  # noqa: B027 - most have no choice
        """Choose the machine for all workers of an experiment; called once, before anything else, with all its needs.

        Raises:
            UsageError: there is no suitable machine.
        """

    def environment(self) -> Environment:
        """Return what is known about the machine that workers run on; called once, and only if ``is_here`` is false."""
        return Environment()

    def places(self, needs: Collection[Need]) -> Sequence[Place]:
        """Return where workers with these needs can run now, busy or not; asked every second.

        Empty: there is none, or the launcher cannot spread an experiment.
        """
        return ()

    def environment_of(self, place: Place) -> Environment:
        """Return what is known about the machine of a place; called once per host, in a separate thread.

        Raises:
            UsageError: it does not answer.
        """
        return self.environment()

    def describe(self, need: Need) -> str:
        """Name what a worker needs from a machine, for the case that none has it."""
        return f"device {need.device} and backend {need.backend}"

    def stop(self) -> None:  # noqa: B027 - where workers run one at a time, run sees the interruption itself
        """End all workers that run in other threads; their ``run`` returns."""

    @abstractmethod
    def run(self, launch: Launch, on_line: OnLine) -> Outcome:
        """Run one worker to its end.

        Args:
            launch: what is to run.
            on_line: called in the caller's thread with each line, in order; only then may the worker go on measuring.

        Returns:
            How it ended; a lost machine is ``crashed`` with ``is_lost``.

        Raises:
            KeyboardInterrupt: passed on once the worker was killed.
            OSError: from ``on_line``, likewise.
        """
