"""The Qwen3 network as plain functions over a dictionary of weights with Hugging Face's names.

Training and measuring need only this; it is leaner than the `transformers` module and its weights are the state
dict of `Qwen3ForCausalLM` (tied embeddings), so what it trains loads there unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from decodebench.plugins.reference.shapes import EMBEDDING, FINAL_NORM, Shape

if TYPE_CHECKING:
    from torch import Generator, Tensor

Weights = dict[str, "Tensor"]
Cache = list[tuple["Tensor", "Tensor"]]
"""Keys and values of each layer, [B, kv heads, T, head dim]."""
Rotary = tuple["Tensor", "Tensor"]
"""Cosines and sines of the rotary embedding, [B, 1, T, head dim]."""

_EPSILON = 1e-6


class View(NamedTuple):
    """What the queries of a layer may look at.

    Attributes:
        mask: [B, 1, T, keys], True where a query may look, or what is added to its scores; None: the causal mask, or
            everything where there is a past or a context.
        past: keys and values of earlier positions.
        context: states [B, C, D] that stand before those of the layer as further keys and values; the rotary tables
            then cover them too.
    """

    mask: Tensor | None = None
    past: tuple[Tensor, Tensor] | None = None
    context: Tensor | None = None


class Pass(NamedTuple):
    """What a pass gives: logits [B, T, V], the cache with its T positions appended, each layer's output [B, T, D]."""

    logits: Tensor
    cache: Cache
    outputs: list[Tensor]


def initial_weights(shape: Shape, generator: Generator) -> Weights:
    """Draw N(0, 0.02) matrices and unit norms; output projections are scaled by 1/sqrt(2 layers), as in GPT-2."""
    import torch

    weights = {}
    for name, size in shape.tensors().items():
        if len(size) == 1:
            weights[name] = torch.ones(size)
            continue
        is_output = "o_proj" in name or "down_proj" in name
        std = 0.02 / (2 * shape.layers) ** 0.5 if is_output else 0.02
        weights[name] = torch.randn(size, generator=generator) * std
    return weights


def forward(
    weights: Weights,
    shape: Shape,
    tokens: Tensor,
    positions: Tensor,
    mask: Tensor | Sequence[Tensor] | None = None,
    cache: Cache | None = None,
) -> Pass:
    """Run the network.

    `tokens` and `positions` are [B, T]. `mask`, one or one per layer ([B, 1, T, cached + T], True where a query may
    look, or what is added to its scores), replaces the causal mask; without it a cache is allowed only for T = 1,
    which may see everything.
    """
    import torch.nn.functional as F

    hidden = F.embedding(tokens, weights[EMBEDDING])  # [B, T, D]
    tables = rotary(shape, positions, hidden)
    grown: Cache = []
    outputs = []
    for number in range(shape.layers):
        seen = View(mask[number] if isinstance(mask, Sequence) else mask, cache[number] if cache else None)
        hidden, kept = layer(weights, f"model.layers.{number}.", shape, hidden, tables, seen)
        grown.append(kept)
        outputs.append(hidden)
    return Pass(head(weights, norm(hidden, weights[FINAL_NORM])), grown, outputs)


def head(weights: Weights, hidden: Tensor) -> Tensor:
    """Turn final states [..., D] into logits [..., V] with the tied embedding."""
    import torch.nn.functional as F

    return F.linear(hidden, weights[EMBEDDING])


def layer(
    weights: Weights,
    part: str,
    shape: Shape,
    hidden: Tensor,
    tables: Rotary,
    view: View,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run the layer whose weights' names begin with `part` on `hidden` [B, T, D].

    Returns the new states [B, T, D], and keys and values with the view's `past` before them.
    """
    import torch.nn.functional as F

    normed = norm(hidden, weights[part + "input_layernorm.weight"])
    mixed, kept = _attention(weights, part + "self_attn.", shape, normed, tables, view)
    hidden = hidden + mixed
    normed = norm(hidden, weights[part + "post_attention_layernorm.weight"])
    gate = F.silu(F.linear(normed, weights[part + "mlp.gate_proj.weight"]))
    up = F.linear(normed, weights[part + "mlp.up_proj.weight"])
    return hidden + F.linear(gate * up, weights[part + "mlp.down_proj.weight"]), kept


def _attention(
    weights: Weights,
    part: str,
    shape: Shape,
    hidden: Tensor,
    tables: Rotary,
    view: View,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    import torch
    import torch.nn.functional as F

    mask, past, context = view
    batch, length, _ = hidden.shape
    seen = hidden if context is None else torch.cat([context, hidden], dim=1)

    def heads(name: str, rows: Tensor) -> Tensor:
        projected = F.linear(rows, weights[f"{part}{name}_proj.weight"], weights.get(f"{part}{name}_proj.bias"))
        split = projected.view(batch, rows.shape[1], -1, shape.head_dim).transpose(1, 2)  # [B, heads, T, head dim]
        scale = weights.get(f"{part}{name}_norm.weight")  # Qwen3 has it; Qwen2 and LLaMA do not
        return split if scale is None else norm(split, scale)

    of_queries = tables[0][:, :, -length:], tables[1][:, :, -length:]
    query = _rotate(heads("q", hidden), of_queries)
    key = _rotate(heads("k", seen), tables)
    value = heads("v", seen)
    if past is not None:
        key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    group = shape.heads // shape.kv_heads
    mixed = F.scaled_dot_product_attention(
        query,
        key.repeat_interleave(group, dim=1),
        value.repeat_interleave(group, dim=1),
        attn_mask=mask,
        is_causal=mask is None and past is None and context is None,
    )
    joined = mixed.transpose(1, 2).reshape(batch, length, -1)
    return F.linear(joined, weights[part + "o_proj.weight"]), (key, value)


def norm(hidden: Tensor, weight: Tensor) -> Tensor:
    """Divide each vector of the last axis by its root mean square and multiply by `weight`."""
    import torch.nn.functional as F

    return F.rms_norm(hidden, (hidden.shape[-1],), weight, _EPSILON)


def rotary(shape: Shape, positions: Tensor, like: Tensor) -> Rotary:
    """Return cosines and sines of the rotary embedding, [B, 1, T, head dim], in the dtype of `like`."""
    import torch

    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = positions[:, None, :, None].float() / shape.rope_theta**exponents
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotate(heads: Tensor, tables: Rotary) -> Tensor:
    import torch

    first, second = heads.chunk(2, dim=-1)
    return heads * tables[0] + torch.cat([-second, first], dim=-1) * tables[1]
