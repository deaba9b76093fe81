"""The DFlash draft (arXiv 2602.06036) as plain functions over a dictionary of weights with the published names.

A draft fills a block in one forward: the block is an anchor, the last token known, and mask tokens behind it. Its
keys and values come from the target's hidden states at all positions before the anchor (the context) and from the
block; every position of the block sees all of both. The output at index j of the block predicts the token at index
j itself. Embedding and output head are the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .network import EMBEDDING, Shape, Weights, head, layer, norm, rotary
from .tokenizer import MASK_ID

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftShape(Shape):
    """The size of a draft: a Qwen3 network without embedding, tied to the layers of a target as wide as itself.

    Attributes:
        target_layers: depth of the target.
        taps: 0-based layers of the target whose outputs are the context.
        block_size: tokens per block, the anchor included.
        mask_id: id of the mask token, a row of the target's embedding.
    """

    target_layers: int
    taps: tuple[int, ...]
    block_size: int = 16
    mask_id: int = MASK_ID

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name every weight with its dimensions, in the file's order."""
        stack = {name.removeprefix("model."): size for name, size in Shape.tensors(self).items() if name != EMBEDDING}
        fusion = {"fc.weight": (self.hidden, len(self.taps) * self.hidden), "hidden_norm.weight": (self.hidden,)}
        return fusion | stack

    def hf_config(self, *, eos_token_id: int, pad_token_id: int, dtype: str) -> dict[str, Any]:
        """Return the `config.json` as the published drafts have it."""
        config = Shape.hf_config(self, eos_token_id=eos_token_id, pad_token_id=pad_token_id, dtype=dtype)
        del config["torch_dtype"]  # its newer name is `dtype`
        return config | {
            "architectures": ["DFlashDraftModel"],
            "auto_map": {"AutoModel": "dflash.DFlashDraftModel"},
            "block_size": self.block_size,
            "dflash_config": {"mask_token_id": self.mask_id, "target_layer_ids": list(self.taps)},
            "dtype": dtype,
            "layer_types": ["full_attention"] * self.layers,
            "num_target_layers": self.target_layers,
        }


def context_features(outputs: Sequence[Tensor], shape: DraftShape) -> Tensor:
    """Join the tapped ones of a target's layer outputs [B, T, D] to [B, T, taps * D]."""
    import torch

    return torch.cat([outputs[tap] for tap in shape.taps], dim=-1)


def draft_logits(
    weights: Weights,
    shape: DraftShape,
    target: Weights,
    tokens: Tensor,
    features: Tensor,
    positions: Tensor,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Run the draft on the tokens of a block [B, Q], behind the features of C context positions [B, C, taps * D].

    `positions` [B, C + Q] are those of the context, then of the block. `mask` ([B, 1, Q, C + Q], True where a query
    may look) is for several blocks in one row; one block sees everything. Returns logits [B, Q, V].
    """
    import torch.nn.functional as F

    hidden = F.embedding(tokens, target[EMBEDDING])
    context = norm(F.linear(features, weights["fc.weight"]), weights["hidden_norm.weight"])
    tables = rotary(shape, positions, hidden)
    for number in range(shape.layers):
        hidden, _ = layer(weights, f"layers.{number}.", shape, hidden, tables, mask=mask, context=context)
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
    logits = draft_logits(weights, shape, target, tokens, features, positions)
    guesses: list[int] = logits[0, 1:].argmax(-1).tolist()
    return guesses
