"""What a scheduler is, and what it learns of a cycle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Observation:
    """What a scheduler learns of a cycle.

    Attributes:
        cycle: its index within the sample, from 0.
        tau: tokens gained.
        cycle_s: how long it took, in seconds.
        block_size: its effective block size, anchor included; smaller than chosen at the end of a sample.
        l_gen: place of the first drafted stop token, from 1; the block size where there is none.
    """

    cycle: int
    tau: int
    cycle_s: float
    block_size: int
    l_gen: int


class Scheduler(ABC):
    """Chooses block sizes; one instance per sample.

    Attributes:
        largest: the largest block size that it will ever choose.
    """

    name: ClassVar[str]
    largest: int

    @abstractmethod
    def select(self, cycle: int) -> int:
        """Return the block size for a cycle."""

    @abstractmethod
    def update(self, observation: Observation) -> None:
        """Learn from a cycle."""

    def trace(self) -> Mapping[str, JsonValue]:
        """Return the state behind the last update, under the names of the published traces."""
        return {}
