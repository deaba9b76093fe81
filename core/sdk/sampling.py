"""Choosing the next token from logits with numpy: for backends whose engine has no sampler of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..contract.generation import Request

if TYPE_CHECKING:
    import numpy as np

Chooser = Callable[["np.ndarray"], int]


def chooser(request: Request) -> Chooser:
    """Return a function from logits [V] to a token id that follows the request's sampling settings.

    Greedy takes the largest logit, the smallest id on a tie. A draw is seeded by the request alone.
    """
    import numpy as np

    if request.temperature == 0:
        return lambda logits: int(logits.argmax())
    generator = np.random.Generator(np.random.PCG64(request.seed))

    def draw(logits: np.ndarray) -> int:
        mass = probabilities(logits, request).cumsum()
        return int(np.searchsorted(mass, generator.random() * mass[-1], side="right"))

    return draw


def probabilities(logits: np.ndarray, request: Request) -> np.ndarray:
    """Return the distribution that is drawn from, [V] in float64: temperature, then top-k, then top-p.

    Top-p keeps the smallest set of likeliest ids whose mass reaches ``top_p`` (nucleus sampling, Holtzman et al.
    2020, section 3.1). Of equal logits the smaller ids are kept.
    """
    import numpy as np

    scaled = logits.astype(np.float64) / request.temperature
    if request.top_k > 0:
        kept = np.argsort(-scaled, kind="stable")[: request.top_k]
        masked = np.full_like(scaled, -np.inf)
        masked[kept] = scaled[kept]
        scaled = masked
    chances: np.ndarray = np.exp(scaled - scaled.max())
    chances /= chances.sum()
    if request.top_p < 1:
        order = np.argsort(-chances, kind="stable")
        before = np.cumsum(chances[order]) - chances[order]
        chances[order[before >= request.top_p]] = 0.0
        chances /= chances.sum()
    return chances
