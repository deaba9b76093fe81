"""RMS norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Norm:
    """Divide by the root mean square over the last axis and multiply by weights.

    Args:
        weight: [d], or [..., d] where several vectors side by side have weights of their own.
        eps: added to the mean square.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        import torch

        self.weight = weight
        self._width = weight.shape[-1]
        self._eps = eps
        self._eps_tensor = torch.tensor(eps, dtype=weight.dtype, device=weight.device)
        # On a CPU torch composes its norm of a dozen kernels, each longer to call than to run at these sizes.
        self._is_composed = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Normalise [..., d]."""
        import torch
        import torch.nn.functional as F

        if not self._is_composed:
            return F.rms_norm(hidden, (self._width,), None, self._eps) * self.weight
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
        scale = torch.addcmul(self._eps_tensor, length, length, value=1 / self._width).rsqrt_()
        return (hidden * scale).mul_(self.weight)
