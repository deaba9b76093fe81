"""tinygrad itself: its settings, its devices, its kernel cache."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ... import BackendError
from ...core.sdk.cores import default_threads
from .availability import compiler_fix, has_compiler

if TYPE_CHECKING:
    from .options import TinygradOptions


def start(device: str, options: TinygradOptions) -> int:
    """Set tinygrad up for ``device``; return the number of CPU threads.

    tinygrad reads the thread count once, when it is imported: one process cannot have two.

    Raises:
        BackendError: the device or the renderer cannot be used, or tinygrad runs with other threads already.
    """
    threads = options.n_threads or default_threads()
    os.environ["CPU_COUNT"] = str(threads)
    # Unpacked GGUF weights stay float32: rounded to half, as tinygrad does otherwise, they are no longer the file's.
    os.environ["HALF"] = "0"
    os.environ.pop("JITBEAM", None)  # it would overrule the option
    from tinygrad import helpers

    if threads != helpers.CPU_COUNT.value:
        raise BackendError(
            f"n_threads={threads}: tinygrad runs with {helpers.CPU_COUNT.value} threads in this process already",
            code="conflicting-flags",
        )
    helpers.BEAM.value = options.beam
    helpers.JIT.value = (helpers.JIT.value or 1) if options.jit else 0  # some systems have another kind than 1
    before = helpers.DEV.value
    kind = device.upper().removesuffix(":0")  # behind the colon DEV has the renderer, not the number of the device
    helpers.DEV.value = f"{kind}:{options.renderer}" if options.renderer else kind
    fault = _fault(device)
    if fault is not None:
        helpers.DEV.value = before
        raise BackendError(f"tinygrad cannot use {_described(device, options)}: {fault}", code="device-missing")
    return threads


def usable_devices() -> list[str]:
    """Return the devices that tinygrad opens and computes with, best first, as ``cpu`` or ``cuda``."""
    from tinygrad import Device

    return [name.lower() for name in Device.get_available_devices() if _fault(name) is None]


def _described(device: str, options: TinygradOptions) -> str:
    return f"device {device!r}" + (f" with renderer {options.renderer!r}" if options.renderer else "")


def _fault(device: str) -> str | None:
    """Say in one line why nothing can be computed on ``device``; None if it can."""
    from tinygrad import Tensor

    try:
        doubled = (Tensor([float(n) for n in range(16)], device=device.upper()) * 2).tolist()
    except Exception as error:  # noqa: BLE001 - drivers, compilers and loaders each raise their own
        if device.upper() == "CPU" and isinstance(error, FileNotFoundError) and not has_compiler():
            return f"no C compiler on the PATH: {compiler_fix()}"
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None if doubled == [2.0 * n for n in range(16)] else "it computes 2 * x wrongly"


def renderer(device: str) -> str:
    """Return the name of the code generator in use, as the option ``renderer`` takes it."""
    from tinygrad import Device

    opened = Device[device.upper()]
    return str(opened._renderer_name(type(opened.renderer)))


def cached_kernels() -> int | None:
    """Return how many entries tinygrad's disk cache of compiled kernels holds; None where it is switched off."""
    from tinygrad import helpers

    if not helpers.CCACHE or helpers.CACHELEVEL < 1:
        return None
    file = Path(helpers.CACHEDB)
    if not file.is_file():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as cache:
        tables = [name for (name,) in cache.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = [cache.execute(f'SELECT count(*) FROM "{table}"').fetchone() for table in tables]
    return sum(int(found) for (found,) in counts)


def free_memory(device: str) -> None:
    """Give back what tinygrad keeps allocated for later use."""
    import gc

    from tinygrad import Device
    from tinygrad.device import LRUAllocator

    gc.collect()
    allocator = Device[device.upper()].allocator
    if isinstance(allocator, LRUAllocator):
        allocator.free_cache()  # type: ignore[no-untyped-call]
