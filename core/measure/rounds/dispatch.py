"""Which worker goes to which place, where an experiment is spread over several hosts.

A place runs one worker at a time. Workers are handed out in the order of the schedule, as far as there are places that
can take them; one whose machine was lost is handed out again before all others. Nothing here waits, starts a thread or
knows a cluster: the time that this takes is the time that places stand idle (``benchmarks/scheduling.py``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...contract.launcher import Need, Place
from ..launcher import LAUNCHES

T = TypeVar("T")
Kind = tuple[str, frozenset[str]]  # device and engines: places of a kind can take the same
_PAUSE_S = 15.0  # until a cluster has noticed that a node is gone; a worker sent there before would be lost as well


@dataclass(slots=True)
class Waiting(Generic[T]):
    """One worker that is to run.

    Attributes:
        number: its place in the schedule.
        need: what a machine must have.
        what: it does.
        launches: how often it was handed out.
    """

    number: int
    need: Need
    what: T
    launches: int = 0


class Dispatcher(Generic[T]):
    """Hands out workers to places.

    Args:
        work: what each worker needs and does, in the order of the schedule.
        placement_timeout_s: for how long no place may be there that can take one.
        clock: the time in seconds.
    """

    def __init__(
        self,
        work: Iterable[tuple[Need, T]],
        placement_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._timeout_s = clock, placement_timeout_s
        self._waiting: dict[Need, deque[Waiting[T]]] = {}
        for number, (need, what) in enumerate(work):
            self._waiting.setdefault(need, deque()).append(Waiting(number, need, what))
        self._places: frozenset[Place] = frozenset()
        self._free: dict[Kind, dict[Place, None]] = {}
        self._busy: dict[Place, Waiting[T]] = {}
        self._takes: dict[Kind, list[Need]] = {}
        self._homeless: dict[Need, float] = {}  # since when no place can take it
        self._lost: dict[Place, float] = {}  # when a machine was lost there that may still be listed

    @property
    def is_done(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._busy and not any(self._waiting.values())

    @property
    def needs(self) -> Collection[Need]:
        """What a place may have to have."""
        return self._waiting.keys()

    @property
    def unassigned(self) -> list[T]:
        """What waits to be handed out."""
        return [waiting.what for queue in self._waiting.values() for waiting in queue]

    @property
    def running(self) -> int:
        """How many workers run."""
        return len(self._busy)

    def update(self, places: Iterable[Place]) -> None:
        """Take note of which places there are now, busy ones included."""
        now, there = self._clock(), frozenset(places)
        self._lost = {place: at for place, at in self._lost.items() if place in there and now - at < _PAUSE_S}
        there -= self._lost.keys()
        for place in self._places - there:
            self._free.get(_kind(place), {}).pop(place, None)
        for place in sorted(there - self._places, key=lambda place: (place.host, place.id, place.device)):
            if place not in self._busy:
                self._release(place)
        self._places = there
        kinds = {_kind(place) for place in there}
        self._takes = {kind: [need for need in self._waiting if _takes(kind, need)] for kind in kinds}
        placed = {need for needs in self._takes.values() for need in needs}
        self._homeless = {need: self._homeless.get(need, now) for need in self._waiting if need not in placed}

    def assign(self) -> Iterator[tuple[Place, T]]:
        """Yield each free place with the first worker that waits for such a one."""
        for kind, free in self._free.items():
            while free:
                heads = [self._waiting[need][0] for need in self._takes.get(kind, ()) if self._waiting[need]]
                if not heads:
                    break
                first = min(heads, key=lambda waiting: waiting.number)
                self._waiting[first.need].popleft()
                place = next(iter(free))
                del free[place]
                first.launches += 1
                self._busy[place] = first
                yield place, first.what

    def end(self, place: Place, *, is_lost: bool = False) -> bool:
        """Take note that the worker at a place has ended; return whether it waits to be handed out again.

        Args:
            place: that it was handed out to.
            is_lost: whether the machine was lost; the place is used again once it was gone, or has stayed for a while.
        """
        ended = self._busy.pop(place)
        if not is_lost:
            if place in self._places:
                self._release(place)
            return False
        self._places -= {place}
        self._lost[place] = self._clock()
        if ended.launches >= LAUNCHES:
            return False
        self._waiting[ended.need].appendleft(ended)
        return True

    def overdue(self) -> Iterator[tuple[Need, T]]:
        """Yield the workers that no place could take for too long; they wait no more."""
        now = self._clock()
        for need, since in self._homeless.items():
            if now - since > self._timeout_s:
                while self._waiting[need]:
                    yield need, self._waiting[need].popleft().what

    def _release(self, place: Place) -> None:
        self._free.setdefault(_kind(place), {})[place] = None


def _kind(place: Place) -> Kind:
    return place.device, place.backends


def _takes(kind: Kind, need: Need) -> bool:
    return Place("", "", *kind).takes(need)
