"""Which block size each cycle gets. A further scheduler is one class in one file, and one line in ``_SCHEDULERS``."""

from __future__ import annotations

from collections.abc import Callable

from ..options import DFlashOptions
from .adl_ewma import AdlEwmaScheduler
from .ewma import EwmaScheduler
from .fixed import FixedScheduler
from .scheduler import Observation, Scheduler
from .threshold import ThresholdScheduler

__all__ = ["Observation", "Scheduler", "make_scheduler"]

_SCHEDULERS: dict[str, Callable[[DFlashOptions], Scheduler]] = {
    kind.name: kind for kind in (FixedScheduler, ThresholdScheduler, EwmaScheduler, AdlEwmaScheduler)
}


def make_scheduler(options: DFlashOptions, block_size: int) -> Scheduler:
    """Build a sample's scheduler; ``block_size`` is what ``fixed`` chooses."""
    if options.scheduler == "fixed":
        options = options.model_copy(update={"block_size": block_size})
    return _SCHEDULERS[options.scheduler](options)
