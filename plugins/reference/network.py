"""The Qwen3 network as plain functions over a dictionary of weights with Hugging Face's names.

Training and measuring need only this; it is leaner than the `transformers` module and its weights are the state
dict of `Qwen3ForCausalLM` (tied embeddings), so what it trains loads there unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor

Weights = dict[str, "Tensor"]
Cache = list[tuple["Tensor", "Tensor"]]
"""Keys and values of each layer, [B, kv heads, T, head dim]."""
Rotary = tuple["Tensor", "Tensor"]
"""Cosines and sines of the rotary embedding, [B, 1, T, head dim]."""

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a Qwen3 network (tied embeddings, no biases)."""

    hidden: int
    layers: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int
    head_dim: int = 64
    rope_theta: float = 10000.0
    max_positions: int = 2048

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name every weight with its dimensions, in the file's order."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        per_layer = {
            "input_layernorm": (self.hidden,),
            "self_attn.q_proj": (q, self.hidden),
            "self_attn.k_proj": (kv, self.hidden),
            "self_attn.v_proj": (kv, self.hidden),
            "self_attn.o_proj": (self.hidden, q),
            "self_attn.q_norm": (self.head_dim,),
            "self_attn.k_norm": (self.head_dim,),
            "post_attention_layernorm": (self.hidden,),
            "mlp.gate_proj": (self.ffn, self.hidden),
            "mlp.up_proj": (self.ffn, self.hidden),
            "mlp.down_proj": (self.hidden, self.ffn),
        }
        layers = {
            f"model.layers.{layer}.{part}.weight": size
            for layer in range(self.layers)
            for part, size in per_layer.items()
        }
        return {EMBEDDING: (self.vocab, self.hidden), **layers, FINAL_NORM: (self.hidden,)}

    def hf_config(self, *, eos_token_id: int, pad_token_id: int, dtype: str) -> dict[str, Any]:
        """Return the `config.json` with which `transformers` loads the weights."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": None,
            "eos_token_id": eos_token_id,
            "pad_token_id": pad_token_id,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.ffn,
            "max_position_embeddings": self.max_positions,
            "max_window_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": _EPSILON,
            "rope_scaling": None,
            "rope_theta": self.rope_theta,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": dtype,
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": self.vocab,
        }


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
    *,
    mask: Tensor | None = None,
    later_mask: Tensor | None = None,
    cache: Cache | None = None,
    outputs: list[Tensor] | None = None,
) -> tuple[Tensor, Cache]:
    """Run the network.

    `tokens` and `positions` are [B, T]. `mask` ([B, 1, T, cached + T], True where a query may look, or what is added to
    its scores) replaces the causal mask; without it a cache is allowed only for T = 1, which may see everything.
    `later_mask` stands in for it in all layers but the first. Each layer's output [B, T, D] is appended to `outputs`
    where that is given. Returns the logits [B, T, V] and the cache with these T positions
    appended.
    """
    import torch.nn.functional as F

    hidden = F.embedding(tokens, weights[EMBEDDING])  # [B, T, D]
    tables = rotary(shape, positions, hidden)
    grown: Cache = []
    for number in range(shape.layers):
        past = cache[number] if cache else None
        mask = later_mask if number and later_mask is not None else mask
        hidden, kept = layer(weights, f"model.layers.{number}.", shape, hidden, tables, mask=mask, past=past)
        grown.append(kept)
        if outputs is not None:
            outputs.append(hidden)
    return head(weights, norm(hidden, weights[FINAL_NORM])), grown


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
    *,
    mask: Tensor | None = None,
    past: tuple[Tensor, Tensor] | None = None,
    context: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run the layer whose weights' names begin with `part` on `hidden` [B, T, D].

    `context` [B, C, D] stands before `hidden` as further keys and values, which `tables` then cover too; without a
    mask everything sees all of it. Returns the new states [B, T, D], and keys and values with `past` before them.
    """
    import torch.nn.functional as F

    normed = norm(hidden, weights[part + "input_layernorm.weight"])
    mixed, kept = _attention(weights, part + "self_attn.", shape, normed, tables, mask, past, context)
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
    mask: Tensor | None,
    past: tuple[Tensor, Tensor] | None,
    context: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    import torch
    import torch.nn.functional as F

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
