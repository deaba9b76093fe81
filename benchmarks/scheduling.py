"""How long machines stand idle because rounds are handed out: the real dispatcher over simulated nodes and a clock.

What is simulated is the cluster: nodes that measure, are lost and come back. What decides is
``decodebench.core.measure.rounds.dispatch``, as a run across hosts calls it: an end, then an assignment, one after the
other, and a look at all nodes every second. The simulated clock goes on by the CPU time that each of these calls really
takes, and by ``--per-round-ms`` for what else the one process does for a round (a thread, the first line of
a log, scores, the last line). A node that waits meanwhile is idle, and that time is what is lost.

python benchmarks/scheduling.py
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from decodebench.core.contract.launcher import Need, Place
from decodebench.core.measure.rounds.dispatch import Dispatcher

_NEEDS = (Need("cpu", "a"), Need("cpu", "b"), Need("cuda:0", "a"))
_SHARES = (0.6, 0.3, 0.1)  # of the rounds
_LOOK_S = 1.0
_AWAY_S = 120.0  # until a lost node is back


@dataclass(slots=True)
class Result:
    """What came of a simulation, in simulated seconds of all nodes together.

    Attributes:
        measured_s: spent on rounds that were finished.
        wasted_s: spent on rounds whose node was lost.
        idle_s: between the end of a round and the start of the next one on the same node.
        makespan_s: until the last round ended.
        dispatching_s: CPU time of the dispatcher.
        rounds: that were finished.
        twice: that were finished more than once.
    """

    measured_s: float = 0.0
    wasted_s: float = 0.0
    idle_s: float = 0.0
    makespan_s: float = 0.0
    dispatching_s: float = 0.0
    rounds: int = 0
    twice: int = 0


@dataclass
class Cluster:
    """Nodes over a simulated clock, and the dispatcher that gives them rounds."""

    places: list[Place]
    rounds: int
    round_s: float
    losses_per_node: float
    per_round_s: float
    seed: int = 0
    now: float = 0.0
    result: Result = field(default_factory=Result)

    def __post_init__(self) -> None:
        self._chooser = random.Random(self.seed)
        needs = self._chooser.choices(_NEEDS, _SHARES, k=self.rounds)
        self._dispatcher = Dispatcher(zip(needs, range(self.rounds), strict=True), 600.0, clock=lambda: self.now)
        self._free_at = 0.0  # when the dispatcher has time again
        self._there = set(self.places)
        self._running: dict[Place, tuple[int, float, int]] = {}  # round, start, launch
        self._idle_since: dict[Place, float] = dict.fromkeys(self.places, 0.0)
        self._finished: set[int] = set()
        self._launches, self._order = itertools.count(), itertools.count()
        self._events: list[tuple[float, int, str, Place | None, int]] = []

    def run(self) -> Result:
        """Run until every round is finished."""
        self._at(0.0, "look")
        whole_s = self.rounds * self.round_s / len(self.places)
        for place in self.places:
            if self._chooser.random() < self.losses_per_node:
                self._at(self._chooser.uniform(0, whole_s), "lose", place)
        while not self._dispatcher.is_done:
            at, _, kind, place, launch = heapq.heappop(self._events)
            if kind in ("lose", "back"):
                self._change(kind, place, at)
            elif kind == "look" or (place in self._running and self._running[place][2] == launch):
                self._dispatch(at, kind, place)
        return self.result

    def _at(self, when: float, kind: str, place: Place | None = None, launch: int = 0) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, place, launch))

    def _change(self, kind: str, place: Place | None, at: float) -> None:
        """Lose a node, or have it back; the dispatcher hears of it later."""
        assert place is not None
        if kind == "back":
            self._there.add(place)
            self._idle_since[place] = at
            return
        self._there.discard(place)
        self._at(at + _AWAY_S, "back", place)
        if place in self._running:
            self._at(at, "lost", place, self._running[place][2])

    def _dispatch(self, at: float, kind: str, place: Place | None) -> None:
        """Let the dispatcher take note of something and hand out rounds; places wait as long as that takes."""
        self.now = max(at, self._free_at)
        ended = None if place is None else self._running.pop(place)
        began = time.thread_time()
        if place is None:
            self._dispatcher.update(self._there)
        else:
            self._dispatcher.end(place, is_lost=kind == "lost")
        assigned = list(self._dispatcher.assign())
        spent = time.thread_time() - began
        self.result.dispatching_s += spent
        if place is None:
            self._at(self.now + _LOOK_S, "look")
        elif ended is not None:
            self._account(place, ended, at, is_lost=kind == "lost")
            spent += self.per_round_s
        for where, number in assigned:
            spent += self.per_round_s
            self._start(where, number, self.now + spent)
        self._free_at = self.now + spent

    def _account(self, place: Place, ended: tuple[int, float, int], at: float, *, is_lost: bool) -> None:
        number, started, _ = ended
        self._idle_since[place] = at
        if is_lost:
            self.result.wasted_s += at - started
            return
        self.result.twice += number in self._finished
        self._finished.add(number)
        self.result.rounds += 1
        self.result.measured_s += at - started
        self.result.makespan_s = at

    def _start(self, place: Place, number: int, when: float) -> None:
        self.result.idle_s += when - self._idle_since[place]
        launch = next(self._launches)
        self._running[place] = (number, when, launch)
        self._at(when + self._chooser.lognormvariate(0, 0.3) * self.round_s, "end", place, launch)
        if place not in self._there:  # it was lost before the dispatcher could know
            self._at(when, "lost", place, launch)


def nodes(count: int) -> Iterator[Place]:
    """Yield nodes of three kinds: most with a CPU and both engines, some with one engine, some with a GPU."""
    for at in range(count):
        device = "cuda" if at % 10 == 0 else "cpu"
        engines = frozenset({"a"}) if at % 10 == 1 else frozenset({"a", "b"})
        yield Place(f"node-{at}", f"10.0.{at // 256}.{at % 256}", device, engines)


@click.command()
@click.option("--nodes", "counts", type=int, multiple=True, default=(10, 100, 1000), show_default=True)
@click.option("--rounds-per-node", type=int, default=30, show_default=True)
@click.option("--round-s", type=float, default=30.0, show_default=True, help="Median length of a round.")
@click.option("--losses-per-node", type=float, default=0.05, show_default=True, help="Share of nodes lost once.")
@click.option("--per-round-ms", type=float, default=5.0, show_default=True, help="Twice for each round: begin and end.")
def main(
    counts: tuple[int, ...], rounds_per_node: int, round_s: float, losses_per_node: float, per_round_ms: float
) -> None:
    """Simulate, and print a table; fail where more than 1 % is lost, or a round is lost or measured twice."""
    click.echo("| nodes | rounds | makespan | CPU of the dispatcher | a round | idle between rounds |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    is_good = True
    for count in counts:
        rounds = count * rounds_per_node
        found = Cluster(list(nodes(count)), rounds, round_s, losses_per_node, per_round_ms / 1000).run()
        lost = found.idle_s / (found.measured_s + found.wasted_s + found.idle_s)
        each_us = found.dispatching_s / rounds * 1e6
        click.echo(
            f"| {count:,} | {rounds:,} | {found.makespan_s:,.0f} s | {found.dispatching_s:.2f} s | {each_us:.0f} us | "
            f"{lost:.2%} |"
        )
        is_good = is_good and lost < 0.01 and found.rounds == rounds and not found.twice
    if not is_good:
        raise click.ClickException("more than 1 % is lost, or a round is missing or was measured twice")


if __name__ == "__main__":
    main()
