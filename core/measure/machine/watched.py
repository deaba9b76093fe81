"""What the machine did while rounds were measured: its CPUs, and each of their devices."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any, Self

from .cpu_load import CpuWatch
from .device_monitor import DeviceMonitor


class Watched:
    """Watches CPUs and devices while its block runs; use it around the whole life of the workers.

    Args:
        devices: of the workers.
        is_here: whether they run on this machine; nothing is watched otherwise.
        server: process of the server that answers them and outlives them; None: there is none.
    """

    def __init__(self, devices: Collection[str], *, is_here: bool, server: int | None = None) -> None:
        self._monitors = {device: DeviceMonitor(device) for device in devices} if is_here else {}
        self._is_here, self._server = is_here, server
        self._open = ExitStack()
        self._other_cpus: float | None = None

    def __enter__(self) -> Self:
        for monitor in self._monitors.values():
            self._open.enter_context(monitor)
        self._cpus = CpuWatch(self._server)
        return self

    def __exit__(self, *_: object) -> None:
        self._other_cpus = self._cpus.other_cpus()
        self._open.close()

    def figures_of(self, device: str, *, is_alone: bool) -> dict[str, Any]:
        """Return what is known of a round, as fields of ``Run``, after the block.

        Args:
            device: of its worker.
            is_alone: whether it was the only one; memory, use, clock, heat and energy of the device are left out
                otherwise, since they are of all rounds together.
        """
        if not self._is_here:
            return {}
        monitor = self._monitors[device]
        of_device = monitor.figures() if is_alone else {"device_other_processes": monitor.others}
        return {"other_cpus": self._other_cpus, **of_device}
