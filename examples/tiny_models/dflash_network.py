"""The DFlash draft (arXiv 2602.06036) as plain functions over a dictionary of weights with the published names.

A draft fills a block in one forward: the block is an anchor, the last token known, and mask tokens behind it. Its
keys and values come from the target's hidden states at all positions before the anchor (the context) and from the
block; every position of the block sees all of both. The output at index j of the block predicts the token at index
j itself. Embedding and output head are the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from decodebench.plugins.reference.shapes import EMBEDDING, DraftShape

from .network import View, Weights, head, layer, norm, rotary

if TYPE_CHECKING:
    from torch import Tensor


def context_features(outputs: Sequence[Tensor], shape: DraftShape) -> Tensor:
    """Join the tapped ones of a target's layer outputs [B, T, D] to [B, T, taps * D]."""
    import torch

    return torch.cat([outputs[tap] for tap in shape.taps], dim=-1)


class Block(NamedTuple):
    """What a draft fills.

    Attributes:
        tokens: anchor and masks, [B, Q].
        positions: those of the C context positions, then of the block, [B, C + Q].
        mask: [B, 1, Q, C + Q], True where a query may look, for several blocks in one row; one sees everything.
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor | None = None


def draft_logits(
    weights: Weights,
    shape: DraftShape,
    target: Weights,
    block: Block,
    features: Tensor,
) -> Tensor:
    """Run the draft on a block behind the features [B, C, taps * D] of its context; returns logits [B, Q, V]."""
    import torch.nn.functional as F

    hidden = F.embedding(block.tokens, target[EMBEDDING])
    context = norm(F.linear(features, weights["fc.weight"]), weights["hidden_norm.weight"])
    tables = rotary(shape, block.positions, hidden)
    for number in range(shape.layers):
        hidden, _ = layer(weights, f"layers.{number}.", shape, hidden, tables, View(block.mask, context=context))
    return head(target, norm(hidden, weights["norm.weight"]))


def draft_block(
    weights: Weights, shape: DraftShape, target: Weights, anchor: int, features: Tensor, block_size: int
) -> list[int]:
    """Return the draft's greedy guesses of the `block_size - 1` tokens behind the token `anchor`.

    `features` [1, C, taps * D] are those of all positions before the anchor, whose position is thus C.
    """
    import torch

    tokens = torch.tensor([[anchor] + [shape.mask_id] * (block_size - 1)])
    positions = torch.arange(features.shape[1] + block_size)[None]
    logits = draft_logits(weights, shape, target, Block(tokens, positions), features)
    guesses: list[int] = logits[0, 1:].argmax(-1).tolist()
    return guesses
