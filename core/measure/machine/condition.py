"""Whether the machine is fit to be measured on: its load, the devices, power and temperature, in one look."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from ...records.machine_load import is_busy
from ...sdk.cores import cores
from .cpu_load import CpuWatch, busiest_processes
from .device_monitor import other_processes

_WINDOW_S = 0.3
_OF_CPU = {"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz"}
_NAMED = 2  # processes that use most


@dataclass(frozen=True, slots=True)
class Condition:
    """What a look at the machine found.

    Attributes:
        other_cpus: CPUs that other processes keep busy; None where that is unknown.
        cores: those that this process may run on.
        load_average: over one minute; what we ran ourselves until now is in it.
        busiest: CPUs used, name and id of the processes behind the load, where there is one.
        device_processes: other processes, by GPU.
        governor: of the CPU's frequency; None where it is not readable.
        on_battery: None where there is no battery, or it is not readable.
        temperature_c: of the processor's hottest sensor, in degrees Celsius.
        is_hot: whether one of its sensors is at its limit.
    """

    other_cpus: float | None
    cores: int
    load_average: float
    busiest: tuple[tuple[float, str, int], ...] = ()
    device_processes: Mapping[str, int] | None = None
    governor: str | None = None
    on_battery: bool | None = None
    temperature_c: float | None = None
    is_hot: bool = False

    @property
    def passing(self) -> list[str]:
        """What disturbs measurements and may pass by itself, in words."""
        found = []
        if is_busy(self.other_cpus, self.cores):
            named = ", ".join(f"{name} (pid {process}) {used:.1f}" for used, name, process in self.busiest)
            found.append(
                f"other processes use {self.other_cpus:.1f} CPUs (cores {self.cores}, load {self.load_average:.1f})"
                + (f"; most of it: {named}" if named else "")
            )
        for device, count in (self.device_processes or {}).items():
            if count:
                found.append(f"{count} other {'process' if count == 1 else 'processes'} on {device}")
        if self.is_hot:
            found.append(f"the processor is at its limit of temperature, {self.temperature_c:.0f} degrees Celsius")
        return found

    @property
    def lasting(self) -> list[str]:
        """What disturbs measurements until somebody changes it, in words."""
        found = ["it runs on battery"] if self.on_battery else []
        return found + (["the CPU governor is 'powersave'"] if self.governor == "powersave" else [])


def look(devices: Iterable[str], window_s: float = _WINDOW_S) -> Condition:
    """Look at the machine for a moment; where others keep it busy, a second time to see who.

    Args:
        devices: as backends name them; other processes are counted on NVIDIA GPUs.
        window_s: seconds to watch the CPUs.
    """
    watch = CpuWatch()
    time.sleep(window_s)
    others, count = watch.other_cpus(), cores()
    temperature_c, is_hot = _temperature()
    on_devices = {device: other_processes(device) for device in dict.fromkeys(devices)}
    return Condition(
        other_cpus=others,
        cores=count,
        load_average=round(os.getloadavg()[0], 2),
        busiest=tuple(busiest_processes(window_s)[:_NAMED]) if is_busy(others, count) else (),
        device_processes={device: number for device, number in on_devices.items() if number is not None},
        governor=governor(),
        on_battery=on_battery(),
        temperature_c=temperature_c,
        is_hot=is_hot,
    )


def governor() -> str | None:
    """Return the governor of the CPU's frequency; None where it is not readable."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def on_battery() -> bool | None:
    """Return whether the machine runs on battery; None without one, or where the system does not say."""
    read = getattr(psutil, "sensors_battery", None)
    try:
        battery = read() if read else None
    except OSError:
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def temperature_c() -> float | None:
    """Return the temperature of the processor's hottest sensor, in degrees Celsius; None where none is readable."""
    return _temperature()[0]


def _temperature() -> tuple[float | None, bool]:
    read = getattr(psutil, "sensors_temperatures", None)
    try:
        chips = read() if read else {}
    except OSError:
        return None, False
    sensors = [sensor for name in _OF_CPU & chips.keys() for sensor in chips[name]]
    hottest = max((sensor.current for sensor in sensors), default=None)
    return hottest, any(sensor.high and sensor.current >= sensor.high for sensor in sensors)
