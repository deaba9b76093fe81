"""An experiment on several hosts at once: each place measures one round at a time, in a thread that waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Lock, Thread
from typing import Generic

from ...contract.launcher import Launcher, Need, Outcome, Place
from ...errors import DecodebenchError
from ...records.schema import Environment
from .dispatch import Dispatcher, T
from .round_run import INTERRUPTED, RoundRun

_LOOK_S = 1.0  # between two looks at which places there are
_END_S = 30.0  # until workers that were ended are known to be gone


@dataclass(frozen=True, slots=True)
class Steps(Generic[T]):
    """What is done with a round.

    Attributes:
        begin: opens its log, given what is known of its machine; None: no machine takes it. Called in its thread.
        measure: runs its worker at a place, and sets its outcome; called in its thread.
        conclude: scores it and closes its log.
    """

    begin: Callable[[T, Environment | None], RoundRun]
    measure: Callable[[RoundRun, Place], None]
    conclude: Callable[[RoundRun], None]


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    what: T
    place: Place
    one: RoundRun | None
    error: BaseException | None = None


def spread(launcher: Launcher, work: Iterable[tuple[Need, T]], steps: Steps[T], ends_at: float | None) -> list[T]:
    """Measure rounds on all places of a launcher; return those that did not begin in time.

    Args:
        launcher: knows the places, and runs the workers.
        work: what each round needs and is, in the order of the schedule.
        steps: what is done with each.
        ends_at: no round begins after it, on the clock of ``time.monotonic``; None: no limit.

    Raises:
        KeyboardInterrupt, OSError: once all workers were ended, and their rounds recorded as interrupted.
    """
    dispatcher = Dispatcher(work, launcher.placement_timeout_s)
    _Spread(launcher, dispatcher, steps).run(ends_at)
    return dispatcher.unassigned


class _Spread(Generic[T]):
    """A spread experiment while it goes on."""

    def __init__(self, launcher: Launcher, dispatcher: Dispatcher[T], steps: Steps[T]) -> None:
        self._launcher, self._dispatcher, self._steps = launcher, dispatcher, steps
        self._ended = Queue[_Ended[T]]()
        self._machines: dict[str, Environment] = {}  # by host
        self._asking: dict[str, Lock] = {}

    def run(self, ends_at: float | None) -> None:
        looked_at = -_LOOK_S
        try:
            while not self._dispatcher.is_done:
                now = time.monotonic()
                if now - looked_at >= _LOOK_S:
                    self._dispatcher.update(self._launcher.places(self._dispatcher.needs))
                    self._refuse_overdue()
                    looked_at = now
                if ends_at is None or now < ends_at:
                    self._launch()
                elif not self._dispatcher.running:
                    return
                try:
                    self._take(self._ended.get(timeout=_LOOK_S))
                except Empty:
                    continue
        except BaseException:
            self._stop()
            raise

    def _launch(self) -> None:
        for place, what in self._dispatcher.assign():
            self._asking.setdefault(place.host, Lock())
            Thread(target=self._measure, args=(what, place), daemon=True).start()

    def _measure(self, what: T, place: Place) -> None:
        one: RoundRun | None = None
        try:
            one = self._steps.begin(what, self._machine_of(place))
            if one.outcome is None:
                self._steps.measure(one, place)
            self._ended.put(_Ended(what, place, one))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._ended.put(_Ended(what, place, one, error))

    def _machine_of(self, place: Place) -> Environment:
        """Return what is known of a host, which is asked and calibrated once."""
        with self._asking[place.host]:
            if place.host not in self._machines:
                self._machines[place.host] = self._launcher.environment_of(place)
            return self._machines[place.host]

    def _take(self, found: _Ended[T]) -> None:
        """Take note of a round that has ended; raise what its thread raised."""
        one, error = found.one, found.error
        is_silent = one is None and isinstance(error, DecodebenchError)  # its machine did not answer before it began
        is_lost = is_silent or (one is not None and one.outcome is not None and one.outcome.is_lost)
        is_again = self._dispatcher.end(found.place, is_lost=is_lost)
        if is_silent:
            if not is_again:
                self._refuse(found.what, str(error))
        elif error is not None:
            self._interrupt(one)
            raise error
        elif one is not None and is_again:
            one.begin_again()
        elif one is not None:
            self._steps.conclude(one)

    def _refuse_overdue(self) -> None:
        limit_s = self._launcher.placement_timeout_s
        for need, what in self._dispatcher.overdue():
            self._refuse(what, f"no machine has {self._launcher.describe(need)}, and none came within {limit_s:g} s")

    def _refuse(self, what: T, reason: str) -> None:
        one = self._steps.begin(what, None)
        one.outcome = Outcome("failed", reason, code="no-engine")
        self._steps.conclude(one)

    def _interrupt(self, one: RoundRun | None) -> None:
        if one is not None:
            one.outcome = one.outcome if one.outcome is not None and one.outcome.status == "ok" else INTERRUPTED
            self._steps.conclude(one)

    def _stop(self) -> None:
        """End all workers and record their rounds as interrupted."""
        self._launcher.stop()
        until = time.monotonic() + _END_S
        while self._dispatcher.running and time.monotonic() < until:
            try:
                found = self._ended.get(timeout=_LOOK_S)
            except Empty:
                continue
            self._dispatcher.end(found.place)
            self._interrupt(found.one)
