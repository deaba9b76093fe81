"""The first published scheduler: the mean tau of a few cycles against two thresholds.

The thresholds are tokens, not shares of the block: a small block, whose tau cannot reach them, is hard to leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import ClassVar

from pydantic import JsonValue

from ..options import DFlashOptions
from .scheduler import Observation, Scheduler
from .switch import Switch


class ThresholdScheduler(Scheduler):
    """The largest block from a mean tau of ``tau_high``, the middle one from ``tau_mid``, else the smallest."""

    name: ClassVar[str] = "threshold"

    def __init__(self, options: DFlashOptions) -> None:
        self._options, self._switch = options, Switch(options)
        self._sizes = options.candidate_block_sizes
        self.largest = self._sizes[-1]
        self._recent: deque[int] = deque(maxlen=options.decision_window)

    def select(self, cycle: int) -> int:
        """Return the largest block during warm-up, then the one in use."""
        return self.largest if cycle < self._options.warmup_cycles else self._switch.current

    def update(self, observation: Observation) -> None:
        """Add tau to the window, and vote when it is full."""
        self._recent.append(observation.tau)
        if observation.cycle < self._options.warmup_cycles or self._switch.is_cooling():
            return
        if len(self._recent) == self._recent.maxlen:
            self._switch.vote(self._wanted(sum(self._recent) / len(self._recent)))

    def _wanted(self, mean_tau: float) -> int:
        if mean_tau >= self._options.tau_high:
            return self.largest
        return self._sizes[len(self._sizes) // 2] if mean_tau >= self._options.tau_mid else self._sizes[0]

    def trace(self) -> Mapping[str, JsonValue]:
        """Return the mean of the window."""
        mean = sum(self._recent) / len(self._recent) if self._recent else None
        return {"rolling_tau": mean, "current_block_size": self._switch.current}
