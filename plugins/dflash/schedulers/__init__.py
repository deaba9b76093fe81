"""Which block size each cycle gets. A further scheduler is one class in one file, and one line in ``_by_name``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from ..options import DFlashOptions


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


def _by_name() -> dict[str, type]:
    from .adl_ewma import AdlEwmaScheduler
    from .ewma import EwmaScheduler
    from .fixed import FixedScheduler
    from .threshold import ThresholdScheduler

    return {kind.name: kind for kind in (FixedScheduler, ThresholdScheduler, EwmaScheduler, AdlEwmaScheduler)}


def make_scheduler(options: DFlashOptions, block_size: int) -> Scheduler:
    """Build a sample's scheduler; ``block_size`` is what ``fixed`` chooses."""
    if options.scheduler == "fixed":
        options = options.model_copy(update={"block_size": block_size})
    made: Scheduler = _by_name()[options.scheduler](options)
    return made
