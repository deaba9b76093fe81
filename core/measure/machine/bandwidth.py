"""How fast this machine reads memory and multiplies matrices: the roofs that decode speed is compared with.

A decode step reads its weights and its context and writes next to nothing, so bandwidth is measured by reading alone:
the maximum of an array of int32, over and over. Bytes counted are then bytes moved; a STREAM triad (McCalpin 1995)
would leave open whether the lines that it writes count twice, and its stores use paths that a decode step leaves idle.
Bandwidth falls from cache to DRAM, so there is one figure per working set (a ladder).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, ValidationError

from ...cache import default_root
from ...files import write_whole
from ...records.machine_load import is_busy
from ...records.schema import Ladder, Record
from ...sdk.cores import cores
from .cpu_load import CpuWatch

if TYPE_CHECKING:
    import numpy as np

RUNGS_BYTES = (2**18, 2**20, 2**22, 2**24, 2**26, 2**28)
_CALL_BYTES = 2**22  # small working sets are read so often in one call that the interpreter's part of it vanishes
_WINDOWS = 5
_WINDOW_S = 0.008
_PRODUCT_S = 0.05
_FIRST_SIZE, _LARGEST_SIZE = 512, 8192
_PRODUCTS = 3


class MachineRates(Record):
    """What a host can do at best; the fields are those of ``Environment`` with the same names."""

    memory_bandwidth: Ladder = Field(min_length=1)
    memory_bandwidth_1_thread: Ladder = Field(min_length=1)
    matrix_flops_per_s: PositiveFloat
    rates_are_quiet: bool


def machine_rates(host: str, threads: int, *, is_quiet: bool = False) -> MachineRates:
    """Return the host's rates: measured the first time (under two seconds), then read from the cache folder.

    What was measured while others kept the host busy is marked, and measured again when they no longer do.

    Args:
        host: names the machine in the cache.
        threads: most threads to read with.
        is_quiet: whether others leave the host alone now, so that to measure again makes sense.
    """
    file = default_root() / f"rates-2-{host}-{threads}.json"
    known = _read(file)
    if known is not None and (known.rates_are_quiet or not is_quiet):
        return known
    watch = CpuWatch()
    rates = MachineRates(
        **bandwidth_ladders(threads),
        matrix_flops_per_s=matrix_flops_per_s(),
        rates_are_quiet=not is_busy(watch.other_cpus(), cores()),
    )
    if known is not None and not rates.rates_are_quiet:
        return known  # others came back
    write_whole(file, rates.model_dump_json())
    return rates


def _read(file: Path) -> MachineRates | None:
    try:
        return MachineRates.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None  # there is none, or it was cut by a crash


def bandwidth_ladders(threads: int) -> dict[str, Ladder]:
    """Measure reading from cache sizes to DRAM, with one thread and with the best number of up to ``threads``.

    Returns:
        ``memory_bandwidth`` and ``memory_bandwidth_1_thread`` as in ``MachineRates``.
    """
    counts = sorted({2**power for power in range(threads.bit_length())} | {threads})
    one: Ladder = {}
    best: Ladder = {}
    for size in RUNGS_BYTES:
        rates = [_read_rate(size, count) for count in counts]
        one[str(size)], best[str(size)] = rates[0], max(rates)
    return {"memory_bandwidth": best, "memory_bandwidth_1_thread": one}


def matrix_flops_per_s() -> float:
    """Measure float32 matrix products of n x n with numpy's BLAS and all its threads: 2 n^3 operations each."""
    guess = _product_rate(_FIRST_SIZE)
    n = (guess * _PRODUCT_S / 2) ** (1 / 3)
    return _product_rate(min(max(64, int(n) // 64 * 64), _LARGEST_SIZE))


def _product_rate(n: int) -> float:
    import numpy as np

    a, b, c = (np.full((n, n), value, np.float32) for value in (0.5, 0.25, 0.0))
    best = float("inf")
    for _ in range(1 + _PRODUCTS):  # the first starts BLAS's threads
        start = time.perf_counter()
        np.matmul(a, b, out=c)
        best = min(best, time.perf_counter() - start)
    return round(2 * n**3 / best)


def _read_rate(working_set_bytes: int, threads: int) -> float:
    """Return bytes/s of ``threads`` threads that read a share of the working set each; best of a few windows."""
    import numpy as np

    shares = [np.empty(working_set_bytes // threads // 4, np.int32) for _ in range(threads)]
    barrier = threading.Barrier(threads)

    def work(share: np.ndarray) -> list[tuple[float, float, int]]:
        share.fill(1)  # by the thread that reads it, so that the pages lie in memory near its core
        read = _reader(share)
        return [_window(read, barrier) for _ in range(_WINDOWS)]

    with ThreadPoolExecutor(threads) as pool:
        by_thread = list(pool.map(work, shares))
    return round(max(_rate(window) for window in zip(*by_thread, strict=True)))


def _reader(share: np.ndarray) -> Callable[[], int]:
    """Return a function that reads the array once or more, without the interpreter's lock, and tells how many bytes."""
    import numpy as np

    repeats = max(1, _CALL_BYTES // share.nbytes)
    rows = np.broadcast_to(share, (repeats, share.size))
    maxima = np.empty(repeats, np.int32)

    def read() -> int:
        np.maximum.reduce(rows, axis=1, out=maxima)
        return rows.nbytes

    return read


def _window(read: Callable[[], int], barrier: threading.Barrier) -> tuple[float, float, int]:
    """Read for a while, together with the other threads; return start, end and bytes."""
    barrier.wait()
    start = end = time.perf_counter()
    moved = 0
    while end - start < _WINDOW_S:
        moved += read()
        end = time.perf_counter()
    return start, end, moved


def _rate(window: tuple[tuple[float, float, int], ...]) -> float:
    starts, ends, moved = zip(*window, strict=True)
    return float(sum(moved) / (max(ends) - min(starts)))
