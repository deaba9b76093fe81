"""What backends in PyTorch share: their devices and threads, the peak of device memory, and giving it back."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import ClassVar

from ..contract.backend import Backend
from ..contract.options import O
from ..contract.requirements import Requires
from ..errors import BackendError
from ..records.engine_counters import EngineCounters
from .cores import default_threads
from .torch_device import torch_devices


def torch_requires(extra: str, *further: str, shown: str = "torch {0}") -> Requires:
    """Return PyTorch and further distributions as what a backend needs.

    Args:
        extra: the extra of decodebench that installs them.
        further: names of distributions.
        shown: the version in listings; ``{0}`` is PyTorch's.
    """
    fix = (
        f'pip install "decodebench[{extra}]"  '
        "(without a GPU add --extra-index-url https://download.pytorch.org/whl/cpu, which spares gigabytes)"
    )
    return Requires(("torch", *further), fix, shown)


class TorchBackend(Backend[O]):
    """A backend whose network runs in PyTorch. ``load`` begins with ``start``, ``close`` ends with ``free``."""

    threads_option: ClassVar[str | None] = "n_threads"

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the GPUs that CUDA offers, and the CPU."""
        return torch_devices()

    def start(self, device: str, n_threads: int | None) -> int:
        """Set PyTorch's threads and return how many there are.

        Args:
            device: where the model will be.
            n_threads: CPU threads; None: the default number.

        Raises:
            BackendError: the device does not exist.
        """
        import torch

        threads = n_threads or default_threads()
        torch.set_num_threads(threads)
        known = self.devices()
        if device not in known:
            raise BackendError(
                f"device {device!r} is not there; PyTorch sees {', '.join(known)}", code="device-missing"
            )
        self._device = device
        return threads

    def counters(self) -> EngineCounters:
        """Return the peak of device memory since the last call, where the device counts it."""
        import torch

        if not self._device.startswith("cuda"):
            return EngineCounters()
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return EngineCounters(peak_device_bytes=peak)

    def free(self) -> None:
        """Collect what nothing refers to any more, and give its memory back to the device."""
        import torch

        gc.collect()
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
