"""Watching a GPU: what is there without one; with one, real figures."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from decodebench.core.measure.machine.device_monitor import DeviceMonitor


def has_gpu() -> bool:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    count = pynvml.nvmlDeviceGetCount()
    pynvml.nvmlShutdown()
    return count > 0


def until_energy_is_counted() -> None:
    """Wait until the GPU's counter, which moves a few times a second, has moved, if it has one."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    with suppress(pynvml.NVMLError):
        before, deadline = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.monotonic() + 10
        while pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == before:
            assert time.monotonic() < deadline
    pynvml.nvmlShutdown()


@pytest.mark.parametrize("device", ["cpu", "metal", "mps", "cuda:99"])
def test_what_is_no_nvidia_device_has_no_figures(device):
    with DeviceMonitor(device) as monitor:
        pass
    assert monitor.figures() == {}


def test_a_machine_without_nvml_has_no_figures():
    if has_gpu():
        pytest.skip("this machine has a GPU")
    with DeviceMonitor("cuda:0") as monitor:
        pass
    assert monitor.figures() == {}


def test_a_gpu_tells_memory_and_use():
    if not has_gpu():
        pytest.skip("no NVIDIA GPU")
    with DeviceMonitor("cuda:0") as monitor:
        until_energy_is_counted()
    figures = monitor.figures()
    assert figures["peak_device_bytes"] > 0
    assert 0 <= figures["device_use"] <= 1
    assert figures["energy_j"] is None or figures["energy_j"] > 0
