"""Choosing the next token from logits with torch: for backends whose network runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..contract.generation import Request

if TYPE_CHECKING:
    import torch

Chooser = Callable[["torch.Tensor"], "torch.Tensor"]


def chooser(request: Request, device: str) -> Chooser:
    """Return a function from logits [1, V] to a token id [1, 1] that follows the request's sampling settings."""
    if request.temperature == 0:
        return greedy
    import torch

    generator = torch.Generator(device=device).manual_seed(request.seed)

    def sample(logits: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(probabilities(logits, request), 1, generator=generator)

    return sample


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Return the id of the largest logit, the smallest id on a tie; [1, V] -> [1, 1]."""
    return logits.argmax(-1, keepdim=True)


def probabilities(logits: torch.Tensor, request: Request) -> torch.Tensor:
    """Return the distributions that are sampled from, [n, V]: temperature, then top-k, then top-p.

    Top-p keeps the smallest set of likeliest ids whose mass reaches ``top_p`` (nucleus sampling, Holtzman et al.
    2020, section 3.1).
    """
    import torch

    scaled = logits.float() / request.temperature
    if request.top_k > 0:
        # A stable sort, because topk leaves open which of equal logits it takes: exactly k stay, smallest ids first.
        kept = scaled.sort(descending=True, stable=True).indices[:, : request.top_k]
        scaled = torch.full_like(scaled, -torch.inf).scatter(-1, kept, scaled.gather(-1, kept))
    chances = scaled.softmax(-1)
    if request.top_p < 1:
        ordered, ids = chances.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        chances = chances.scatter(-1, ids, ordered.masked_fill(before >= request.top_p, 0.0))
        chances = chances / chances.sum(-1, keepdim=True)
    return chances
