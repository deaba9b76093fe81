"""How long a run still takes: from the rounds that each cell has finished and the samples of those that go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean


@dataclass(slots=True)
class RoundTime:
    """A round that goes on.

    Attributes:
        cell: its label.
        samples: how many it will have, warm-up included; 0: not known.
        done: how many it has.
        tokens: of these.
        tokens_s: seconds of these in the engine.
        active_s: seconds that it had the machine.
        first_s: ``active_s`` at the end of the first sample, so that loading is not taken for part of every sample.
    """

    cell: str
    samples: int = 0
    done: int = 0
    tokens: int = 0
    tokens_s: float = 0.0
    active_s: float = 0.0
    first_s: float = 0.0

    def whole_s(self) -> float | None:
        """Estimate how long it takes as a whole; None before the second sample."""
        if self.done < 2 or not self.samples:
            return None
        return self.first_s + (self.samples - 1) * (self.active_s - self.first_s) / (self.done - 1)


@dataclass(slots=True)
class TimeLeft:
    """The rounds of a run.

    Attributes:
        rounds: to run at most, by cell.
        certain: to run whatever the budget, by cell.
        budget_s: for how long to go on at most; None: until all have run.
    """

    rounds: Mapping[str, int]
    certain: Mapping[str, int] = field(default_factory=dict)
    budget_s: float | None = None
    _finished: dict[str, list[float]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Rounds to run at most."""
        return sum(self.rounds.values())

    @property
    def finished(self) -> int:
        """Rounds that are over."""
        return sum(map(len, self._finished.values()))

    def finish(self, one: RoundTime) -> None:
        """A round is over."""
        self._finished.setdefault(one.cell, []).append(one.active_s)

    def seconds(self, spent_s: float, going: Mapping[str, RoundTime]) -> float | None:
        """Estimate the seconds left; None where nothing is known yet, or nothing is left.

        Args:
            spent_s: since the first round began.
            going: the rounds that go on, by cell.
        """
        if self.finished >= self.total:
            return None
        known = {cell: fmean(times) for cell, times in self._finished.items()}
        known |= {cell: whole for cell, one in going.items() if (whole := one.whole_s()) is not None}
        if not known:
            return None
        other = fmean(known.values())  # of a cell that has not run yet
        begun = sum(one.active_s for one in going.values())

        def left(rounds: Mapping[str, int]) -> float:
            todo = ((cell, max(0, n - len(self._finished.get(cell, ())))) for cell, n in rounds.items())
            return sum(n * known.get(cell, other) for cell, n in todo) - begun

        if self.budget_s is None:
            return max(0.0, left(self.rounds))
        return max(0.0, left(self.certain), min(left(self.rounds), self.budget_s - spent_s))


def duration(seconds: float) -> str:
    """Word a time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
