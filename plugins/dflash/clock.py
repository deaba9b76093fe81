"""Timing of the parts of a cycle without waiting for the device: marks now, seconds after the sample."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any


class Clock(ABC):
    """Takes marks in the order of the device's work."""

    @abstractmethod
    def mark(self) -> Any:  # noqa: ANN401 - a float or an event, known to this clock alone
        """Mark the end of what has been asked of the device so far."""

    @abstractmethod
    def seconds(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Return the time between two marks."""


class HostClock(Clock):
    """For a CPU, where an operation has ended when its call returns."""

    def mark(self) -> float:
        """Read the clock."""
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """Subtract."""
        return end - start


class CudaClock(Clock):
    """CUDA events, which the device stamps when it gets there."""

    def mark(self) -> Any:  # noqa: ANN401
        """Record an event."""
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Return the time between two events; waits for the second."""
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


def clock_for(device: str) -> Clock:
    """Return the clock of a device."""
    return CudaClock() if device.startswith("cuda") else HostClock()
