"""How much memory a process keeps, and whether it grows."""

from __future__ import annotations

import ctypes
import gc
import itertools
import statistics
from collections.abc import Sequence

import psutil


def resident_bytes() -> int:
    """Return the resident set, after the interpreter and the C library gave back what they merely keep at hand."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(psutil.Process().memory_info().rss)


def growth_per_cycle(sizes: Sequence[float]) -> float:
    """Return the median slope over all pairs (Theil and Sen), which one outlier does not move."""
    pairs = itertools.combinations(enumerate(sizes), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)
