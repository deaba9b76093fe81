"""Always the same block size."""

from __future__ import annotations

from typing import ClassVar

from ..options import DFlashOptions
from .scheduler import Observation, Scheduler


class FixedScheduler(Scheduler):
    """The option ``block_size``."""

    name: ClassVar[str] = "fixed"

    def __init__(self, options: DFlashOptions) -> None:
        assert options.block_size is not None
        self.largest = options.block_size

    def select(self, cycle: int) -> int:
        """Return it."""
        return self.largest

    def update(self, observation: Observation) -> None:
        """Learn nothing."""
