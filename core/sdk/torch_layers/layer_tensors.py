"""The tensors of one decoder layer under Hugging Face's names, checked for their shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..decoder_config import DecoderConfig
from .feed_forward import ExpertsShape
from .weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


def layer_tensors(config: DecoderConfig, *, has_head_norms: bool) -> dict[str, tuple[int, ...]]:
    """Name the tensors that every layer must have, with their shapes; projections may have a ``.bias`` besides."""
    width, queries, keys = config.width, config.heads * config.head_dim, config.kv_heads * config.head_dim
    norms = {"input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,)}
    head_norms = {f"self_attn.{part}_norm.weight": (config.head_dim,) for part in "qk"} if has_head_norms else {}
    return {
        **norms,
        **head_norms,
        "self_attn.q_proj.weight": (queries, width),
        "self_attn.k_proj.weight": (keys, width),
        "self_attn.v_proj.weight": (keys, width),
        "self_attn.o_proj.weight": (width, queries),
        "mlp.gate_proj.weight": (config.ffn, width),
        "mlp.up_proj.weight": (config.ffn, width),
        "mlp.down_proj.weight": (width, config.ffn),
    }


def layer_reader(
    weights: Weights, config: DecoderConfig, prefix: str, experts: ExpertsShape | None = None
) -> Callable[[int, str], Tensor | None]:
    """Return a function that reads a tensor by layer and by its name within the layer.

    Only attention projections may have a bias; other biases stay unread, which ``Weights.refuse_rest`` reports.
    """
    shapes = layer_tensors(config, has_head_norms=config.arch == "qwen3")
    shapes |= experts.tensors(config.width) if experts else {}

    def read(layer: int, name: str) -> Tensor | None:
        full = f"{prefix}{layer}.{name}"
        if name in shapes:
            return weights.read(full, shapes[name])
        return weights.find(full) if name.startswith("self_attn.") else None

    return read
