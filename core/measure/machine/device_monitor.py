"""What an NVIDIA GPU did during a round, by NVML: memory, use, clock, heat, energy, and who else was there."""

from __future__ import annotations

import os
import re
import threading
from typing import Any, Self

_PERIOD_S = 0.5  # rare enough to cost the worker nothing
_CUDA = re.compile(r"^(?:cuda|nv)(?::(\d+))?$")


def other_processes(device: str) -> int | None:
    """Return how many processes use a GPU now; None for what is no NVIDIA device, and without NVML."""
    with DeviceMonitor(device) as monitor:
        return monitor.others


def free_bytes(device: str) -> int | None:
    """Return how much memory of a GPU is free now; None for what is no NVIDIA device, and without NVML."""
    with DeviceMonitor(device) as monitor:
        return monitor.free_bytes


class DeviceMonitor:
    """Watches one GPU while its block runs; any other device, or a machine without NVML, leaves no figures.

    Use it around the whole life of a worker: what runs on the device when the block begins is somebody else's.

    Args:
        device: as the backend names it: ``cuda:0``, ``cuda``, ``nv``, ``cpu``, ...

    Attributes:
        others: processes on the device when the block began; None where nothing is watched, or it is not told.
        free_bytes: of its memory, then; likewise.
    """

    def __init__(self, device: str) -> None:
        found = _CUDA.match(device.lower())
        self._index = None if found is None else int(found.group(1) or 0)
        self._nvml: Any = None
        self._handle: Any = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="device-monitor", daemon=True)
        self._memory: list[int] = []
        self._use: list[int] = []
        self._clock_mhz: list[int] = []
        self._temperature_c: list[int] = []
        self.others: int | None = None
        self.free_bytes: int | None = None
        self._energy_mj: int | None = None

    def __enter__(self) -> Self:
        if self._index is not None and self._open(self._index):
            self.others = self._processes()
            self.free_bytes = self._free()
            self._energy_mj = self._energy()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is None:
            return
        self._end.set()
        self._thread.join()
        energy = self._energy()
        self._energy_mj = None if energy is None or self._energy_mj is None else energy - self._energy_mj
        self._nvml.nvmlShutdown()

    def figures(self) -> dict[str, float | int | None]:
        """Return the fields of ``Run`` that are known, after the block."""
        if self._handle is None:
            return {}
        return {
            "peak_device_bytes": max(self._memory, default=None),
            "device_use": sum(self._use) / (100 * len(self._use)) if self._use else None,
            "device_clock_hz": 1e6 * sum(self._clock_mhz) / len(self._clock_mhz) if self._clock_mhz else None,
            "device_temperature_c": max(self._temperature_c, default=None),
            "energy_j": None if self._energy_mj is None else self._energy_mj / 1e3,
            "device_other_processes": self.others,
        }

    def _open(self, index: int) -> bool:
        try:
            import pynvml
        except ImportError:
            return False
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        self._nvml = pynvml
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(_physical(index))
        except pynvml.NVMLError:
            pynvml.nvmlShutdown()
        return self._handle is not None

    def _processes(self) -> int | None:
        try:
            return len(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        except self._nvml.NVMLError:  # not told by some drivers, such as in a virtual machine
            return None

    def _free(self) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).free)
        except self._nvml.NVMLError:
            return None

    def _energy(self) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except self._nvml.NVMLError:  # older than Volta
            return None

    def _watch(self) -> None:
        nvml, handle = self._nvml, self._handle
        while True:
            try:
                self._memory.append(int(nvml.nvmlDeviceGetMemoryInfo(handle).used))
                self._use.append(int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu))
                self._clock_mhz.append(int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)))
                self._temperature_c.append(int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)))
            except nvml.NVMLError:  # not told by this device; what is told stays
                pass
            if self._end.wait(_PERIOD_S):
                return


def _physical(index: int) -> int:
    """Return NVML's index: it counts all GPUs, an engine those that ``CUDA_VISIBLE_DEVICES`` shows."""
    shown = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return int(shown[index]) if index < len(shown) and shown[index].isdigit() else index
