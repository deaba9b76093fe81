"""A request's choice of tokens: greedy, or drawn with a generator of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.contract.generation import Request
from ...core.sdk import torch_sampling

if TYPE_CHECKING:
    from torch import Tensor


class Sampler:
    """Draws for one request; its generator is seeded by the request alone."""

    def __init__(self, request: Request, device: str) -> None:
        import torch

        self._request, self._device = request, device
        self.is_greedy = request.temperature == 0
        self._generator = None if self.is_greedy else torch.Generator(device=device).manual_seed(request.seed)

    def choose(self, logits: Tensor) -> Tensor:
        """Choose a token per row: [n, V] -> [n]."""
        return logits.argmax(-1) if self.is_greedy else self.draw(self.probabilities(logits))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what is drawn from, [n, V]: temperature, top-k, top-p."""
        return torch_sampling.probabilities(logits, self._request)

    def draw(self, probabilities: Tensor) -> Tensor:
        """Draw a token per row: [n, V] -> [n]."""
        import torch

        return torch.multinomial(probabilities, 1, generator=self._generator)[:, 0]

    def uniform(self, n: int) -> Tensor:
        """Draw n numbers from [0, 1)."""
        import torch

        return torch.rand(n, generator=self._generator, device=self._device)
