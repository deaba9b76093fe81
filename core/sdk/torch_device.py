"""What PyTorch says of devices: for backends whose network runs there."""

from __future__ import annotations


def torch_devices() -> list[str]:
    """Return the GPUs that CUDA offers, and the CPU."""
    import torch

    return [*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu"]


def plan_no_attention(device: str) -> None:
    """Keep cuDNN out of attention on a GPU; PyTorch's own fused kernels serve instead.

    cuDNN plans anew for every pair of lengths that it meets in half precision, which took 45 ms on an H200 with
    PyTorch 2.11: decoding, whose cache grows, meets a new pair in nearly every step.
    """
    import torch

    if device.startswith("cuda"):
        torch.backends.cuda.enable_cudnn_sdp(False)
