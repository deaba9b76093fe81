"""From logits to a token per position and the confidence in it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.generation import Request
from ...core.sdk import torch_sampling
from .forwards import Proposals
from .options import FastDllmOptions

if TYPE_CHECKING:
    from torch import Tensor


class Proposer:
    """Proposes for one request; its random numbers are seeded by the request alone.

    Args:
        request: how tokens are chosen.
        options: what counts as confidence.
        end_ids: tokens that count as no confidence at all, nor as a choice that others compete with.
        device: where the logits are.
    """

    def __init__(self, request: Request, options: FastDllmOptions, end_ids: Sequence[int], device: str) -> None:
        import torch

        self._request, self._remasking, self._spread = request, options.remasking, options.alg_temp
        self._end_ids = list(end_ids)
        is_sure = options.remasking == "low_confidence" and not self._spread and not self._end_ids
        self.is_plain = request.temperature == 0 and is_sure
        self._chance = random.Random(request.seed)
        self._generator = torch.Generator(device=device).manual_seed(request.seed) if request.temperature else None

    def __call__(self, logits: Tensor) -> Proposals:
        """Propose for n positions from logits [n, V].

        A token is the likeliest one, or drawn after temperature, top-k and top-p. The confidence is the model's own
        probability of it, at temperature 1 and before anything is cut off (LLaDA's rule; the published v2 code takes
        the probability after top-p, which is too high).
        """
        import torch

        if self.is_plain:
            return plain(logits)
        if self._generator is None:
            ids = logits.argmax(-1)
        else:
            drawn = torch.multinomial(torch_sampling.probabilities(logits, self._request), 1, generator=self._generator)
            ids = drawn[:, 0]
        return Proposals(ids.tolist(), self._confidences(logits, ids))

    def _confidences(self, logits: Tensor, ids: Tensor) -> list[float]:
        import torch

        if self._remasking in ("random", "origin"):
            return [self._chance.random() for _ in range(len(ids))]
        if self._end_ids:
            logits = logits.index_fill(1, torch.tensor(self._end_ids, device=logits.device), -torch.inf)
        chances = logits.softmax(-1)
        if self._remasking == "entropy":
            confidences = torch.xlogy(chances, chances).sum(-1)
        elif self._remasking == "topk_margin":
            top = chances.topk(2).values
            confidences = top[:, 0] - top[:, 1]
        else:
            confidences = chances.gather(-1, ids[:, None])[:, 0]
        return [float(value) + self._spread * self._noise() for value in confidences.tolist()]

    def _noise(self) -> float:
        """Draw Gumbel noise: the n largest of c / T + noise are n different draws by softmax(c / T)."""
        return -math.log(self._chance.expovariate(1.0) or 1e-300) if self._spread else 0.0


def plain(logits: Tensor) -> Proposals:
    """Propose the likeliest token with its probability; one transfer from the device for any number of positions."""
    import torch

    largest, ids = logits.max(-1)
    confidences = (largest - logits.logsumexp(-1)).exp()
    found = torch.stack([ids.to(torch.float64), confidences.to(torch.float64)]).tolist()
    return Proposals([int(token) for token in found[0]], found[1])


def guided(logits: Tensor, scale: float) -> Tensor:
    """Turn logits [2n, V], with the prompt and then without it, into guided ones [n, V] (arXiv 2502.09992, A.2)."""
    given, free = logits.chunk(2)
    return free + (1 + scale) * (given - free)


def split(found: Proposals, sizes: Sequence[int]) -> list[Proposals]:
    """Split proposals for several requests into those of each."""
    parts, start = [], 0
    for size in sizes:
        parts.append(Proposals(found.ids[start : start + size], found.confidences[start : start + size]))
        start += size
    return parts
