"""Exponentially weighted tokens per second of each block size; the fastest wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import JsonValue

from ..options import DFlashOptions
from .scheduler import Observation, Scheduler
from .switch import Switch


class EwmaScheduler(Scheduler):
    """Warm-up tries each block size in turn; later every ``probe_interval`` cycles one that is not in use is tried.

    Two cycles in a row whose acceptance is low force a smaller block. A block size of which nothing is known yet is
    left only that way: there is no speed that another could be better than.
    """

    name: ClassVar[str] = "ewma"

    def __init__(self, options: DFlashOptions) -> None:
        self._options, self._switch = options, Switch(options)
        self._sizes = options.candidate_block_sizes
        self.largest = self._sizes[-1]
        self._tau: dict[int, float] = {}
        self._cycle_s: dict[int, float] = {}
        self._low = self._probe = 0
        self._seen = self.largest

    @property
    def scores(self) -> dict[int, float]:
        """Tokens per second of every block size that was tried."""
        return {size: tau / max(1e-12, self._cycle_s[size]) for size, tau in self._tau.items()}

    def select(self, cycle: int) -> int:
        """Return the next of the warm-up, a probe, or the block size in use."""
        warmup, interval = self._options.warmup_cycles, self._options.probe_interval
        if cycle < warmup:
            return self._sizes[cycle % len(self._sizes)]
        if interval > 0 and (cycle - warmup) % interval == 0:
            return self._next_probe()
        return self._switch.current

    def _next_probe(self) -> int:
        for _ in self._sizes:
            size = self._sizes[self._probe % len(self._sizes)]
            self._probe += 1
            if size != self._switch.current:
                return size
        return self._switch.current

    def update(self, observation: Observation) -> None:
        """Learn from a cycle; a size that is none of ours, at the end of a sample, teaches nothing."""
        size = observation.block_size
        if size not in self._sizes:
            return
        self._seen = size
        alpha = self._options.ewma_alpha
        self._tau[size] = averaged(self._tau.get(size), observation.tau, alpha)
        self._cycle_s[size] = averaged(self._cycle_s.get(size), observation.cycle_s, alpha)
        self._learn_lengths(observation)
        self._watch_acceptance(observation)
        if observation.cycle < self._options.warmup_cycles or self._switch.is_cooling():
            return
        self._decide()

    def _learn_lengths(self, observation: Observation) -> None:
        """Learn what else a variant wants to know."""

    def _watch_acceptance(self, observation: Observation) -> None:
        is_low = observation.tau / observation.block_size < self._options.low_accept_threshold
        self._low = self._low + 1 if is_low and observation.block_size == self._switch.current else 0
        if self._low >= self._options.low_accept_streak:
            self._switch.step_down()
            self._low = 0

    def _competitors(self, scored: Sequence[int]) -> Sequence[int]:
        """Return the block sizes that may win, smallest first."""
        return scored

    def _decide(self) -> None:
        scores, current = self.scores, self._switch.current
        if current not in scores:
            self._switch.keep()
            return
        best = max(self._competitors(sorted(scores)), key=lambda size: scores[size])  # the first on ties: the smallest
        gain = (scores[best] - scores[current]) / max(1e-12, abs(scores[current]))
        self._switch.vote(best if gain > self._options.switch_margin else current)

    def trace(self) -> Mapping[str, JsonValue]:
        """Return what is known of the block size that was last seen."""
        size = self._seen
        return {
            "tau_hat": self._tau.get(size),
            "cycle_hat": self._cycle_s.get(size),
            "score_hat": self.scores.get(size),
            "current_block_size": self._switch.current,
        }


def averaged(old: float | None, new: float, weight: float) -> float:
    """Return the exponentially weighted average; the first value counts whole."""
    return float(new) if old is None else (1 - weight) * old + weight * new
