"""A first layer that gives every token the embedding of the one before it.

LLaDA guesses a masked token at its own place, an autoregressive model at the place before. Behind a layer that moves
the text on by one place, layers that are trained for the one do the other: at the first masked token they see what
they always saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from decodebench.plugins.reference.shapes import EMBEDDING, Shape

from .network import View, Weights, initial_weights, layer, rotary
from .optimise import say

if TYPE_CHECKING:
    from torch import Generator, Tensor

_STEPS = 1200
_LEARNING_RATE = 3e-3
_INITIAL_GAIN = 3.0  # on the usual initial weights: attention must become sharp
_PART = "model.layers.0."


def fit_shift(
    weights: Weights, shape: Shape, next_text: Callable[[], tuple[Tensor, Tensor, Tensor]], generator: Generator
) -> Weights:
    """Return weights of layer 0 under which its output is the embedding of the token before, by gradient descent.

    Args:
        weights: hold the embedding.
        shape: of the network; it must have as many key heads as heads, so that a whole embedding fits into the values.
        next_text: gives tokens, positions and documents of the next batch, each [rows, row tokens].
        generator: of the initial weights.
    """
    import torch
    import torch.nn.functional as F

    embedding = weights[EMBEDDING].detach()
    fitted = {
        name: (weight * (_INITIAL_GAIN if weight.dim() > 1 else 1.0)).requires_grad_()
        for name, weight in initial_weights(shape, generator).items()
        if name.startswith(_PART) and name in shape.tensors()
    }
    optimizer = torch.optim.AdamW(fitted.values(), lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    scale = embedding.pow(2).mean()
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * 0.5 * (1.02 + 0.98 * math.cos(math.pi * step / _STEPS))
        tokens, positions, documents = next_text()
        own = F.embedding(tokens, embedding)
        mask = (documents[:, :, None] == documents[:, None, :])[:, None]
        moved, _ = layer(fitted, _PART, shape, own, rotary(shape, positions, own), View(mask))
        before = torch.cat([own[:, :1], own[:, :-1]], dim=1)
        loss = (moved - before)[(positions > 0) & (documents >= 0)].pow(2).mean() / scale
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(fitted.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    say(f"shift layer: {loss.item():.4f} of the embeddings' variance is left")
    return {name: weight.detach() for name, weight in fitted.items()}
