"""What fits into memory together: of the host, and of each device."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from .... import defaults
from ..machine.device_monitor import free_bytes

_SHARE = 0.8  # of what is free: the rest is for what else runs, and for files that are read


@dataclass(frozen=True, slots=True)
class Need:
    """What a worker takes of memory.

    Attributes:
        device: on which it computes.
        host_bytes: of the host, weights included where they are there.
        device_bytes: of the device; 0 where that has none of its own.
    """

    device: str
    host_bytes: int
    device_bytes: int

    @classmethod
    def of(cls, device: str, weight_bytes: int) -> Need:
        """Estimate it from the size of the weights."""
        weights = int(weight_bytes * defaults.MEMORY_HEADROOM)
        if _is_host(device):
            return cls(device, defaults.WORKER_BYTES + weights, 0)
        return cls(device, defaults.WORKER_BYTES, defaults.WORKER_BYTES + weights)


def groups(needs: Sequence[Need], free: Mapping[str, int | None]) -> list[list[int]]:
    """Put workers into groups each of which fits into memory, the first worker into every one of them.

    Args:
        needs: one a worker.
        free: bytes by device, those of the host under ``cpu``; None where nobody knows: a device holds one worker then.

    Returns:
        Positions in ``needs``. A worker that does not fit beside the first one is alone.
    """
    together, alone = [[0]], []
    for at in range(1, len(needs)):
        if not fit([needs[0], needs[at]], free):
            alone.append([at])
        elif fit([needs[member] for member in (*together[-1], at)], free):
            together[-1].append(at)
        else:
            together.append([0, at])
    return [*together, *alone]


def fit(needs: Sequence[Need], free: Mapping[str, int | None]) -> bool:
    """Say whether workers fit into memory together."""
    host = free["cpu"]
    if host is not None and sum(need.host_bytes for need in needs) > _SHARE * host:
        return False
    for device in {need.device for need in needs if need.device_bytes}:
        there, own = free[device], [need.device_bytes for need in needs if need.device == device]
        if len(own) > 1 and (there is None or sum(own) > _SHARE * there):
            return False
    return True


def free_memory(devices: Sequence[str], of_device: Callable[[str], int | None] = free_bytes) -> dict[str, int | None]:
    """Return the free bytes of the host, under ``cpu``, and of each device that has memory of its own."""
    own = {device: of_device(device) for device in dict.fromkeys(devices) if not _is_host(device)}
    return {"cpu": int(psutil.virtual_memory().available), **own}


def _is_host(device: str) -> bool:
    """Whether a device computes in the host's memory: processors, and the GPUs of Macs."""
    return device.startswith("cpu") or sys.platform == "darwin"
