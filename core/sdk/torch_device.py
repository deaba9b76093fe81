"""What PyTorch says of devices: for backends whose network runs there."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BackendError
from .cores import default_threads


def torch_devices() -> list[str]:
    """Return the GPUs that CUDA offers, and the CPU."""
    import torch

    return [*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu"]


def start_torch(device: str, n_threads: int | None, devices: Sequence[str]) -> int:
    """Set PyTorch's threads and return how many there are.

    Args:
        device: where the model will be.
        n_threads: CPU threads; None: the default number.
        devices: those that there are.

    Raises:
        BackendError: the device does not exist.
    """
    import torch

    threads = n_threads or default_threads()
    torch.set_num_threads(threads)
    if device not in devices:
        raise BackendError(f"device {device!r} is not there; PyTorch sees {', '.join(devices)}")
    return threads


def plan_no_attention(device: str) -> None:
    """Keep cuDNN out of attention on a GPU; PyTorch's own fused kernels serve instead.

    cuDNN plans anew for every pair of lengths that it meets in half precision, which took 45 ms on an H200 with
    PyTorch 2.11: decoding, whose cache grows, meets a new pair in nearly every step.
    """
    import torch

    if device.startswith("cuda"):
        torch.backends.cuda.enable_cudnn_sdp(False)


def take_peak_bytes(device: str) -> dict[str, float]:
    """Return the peak of device memory since the last call as a counter; empty where the device counts none."""
    import torch

    if not device.startswith("cuda"):
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return {"peak_device_bytes": float(peak)}


def free_device_memory(device: str) -> None:
    """Collect what nothing refers to any more, and give its memory back to the device."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
