"""The tensors of each family of decoders: what Hugging Face calls them, and llama.cpp.

The names and transformations are those of llama.cpp's own converter, whose files a test compares these with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..decoder_config import DecoderConfig

EXPERT = "{expert}"
"""Stands in a checkpoint's name for the number of an expert; GGUF stacks them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor's place in the GGUF file.

    Attributes:
        name: GGUF name.
        shape: expected shape in the checkpoint; of stacked experts that of one.
        rotary_heads: number of heads whose rows must be interleaved; 0 for none.
        optional: whether the checkpoint may lack it.
        shift: is added to the checkpoint's values.
        experts: how many tensors of the checkpoint are stacked; 0 for a plain one.
        is_float: it stays in single precision, whatever the matrices are stored in.
    """

    name: str
    shape: tuple[int, ...]
    rotary_heads: int = 0
    optional: bool = False
    shift: float = 0.0
    experts: int = 0
    is_float: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """What the layers of a family have.

    Attributes:
        norms: the norms of a layer by their names in the checkpoint.
        norm_shift: what the checkpoint's norms lack: Gemma multiplies by one more than its weights.
        head_norms: queries and keys are normalised: each head by itself, or whole rows.
        interleaves: whether llama.cpp's graph rotates neighbouring pairs, where the checkpoint rotates halves.
        biases: which projections may or must have a bias.
        is_fused: q, k and v are one matrix, and so are gate and up.
        has_experts: the feed-forward part is a mixture of experts.
    """

    norms: Mapping[str, str]
    norm_shift: float = 0.0
    head_norms: Literal["head", "row"] | None = None
    interleaves: bool = False
    biases: Literal["may", "qkv"] | None = None
    is_fused: bool = False
    has_experts: bool = False


_BEFORE = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_BEHIND = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
_BOTH = {**_BEHIND, "input_layernorm": "attn_norm", "pre_feedforward_layernorm": "ffn_norm"}

FAMILIES: Mapping[str, Family] = {
    "llama": Family(_BEFORE, interleaves=True, biases="may"),
    "smollm3": Family(_BEFORE, interleaves=True, biases="may"),
    "granite": Family(_BEFORE, interleaves=True, biases="may"),
    "qwen2": Family(_BEFORE, biases="qkv"),
    "qwen3": Family(_BEFORE, head_norms="head"),
    "qwen3moe": Family(_BEFORE, head_norms="head", has_experts=True),
    "gemma3": Family(_BOTH, norm_shift=1.0, head_norms="head"),
    "phi3": Family(_BEFORE, is_fused=True),
    "olmo2": Family(_BEHIND, head_norms="row"),
}
"""By the value of ``general.architecture``."""

_Matrix = tuple[str, str, int, int, int]  # checkpoint name, GGUF name, rows, columns, heads to interleave


def layer_targets(config: DecoderConfig) -> dict[str, Target]:
    """Return the place of every tensor of a layer, by its name within the layer."""
    family = FAMILIES[config.arch]
    found = {
        f"{name}.weight": Target(f"{ours}.weight", (config.width,), shift=family.norm_shift)
        for name, ours in family.norms.items()
    }
    for name, ours, rows, columns, heads in (*_attention(config, family), *_feed_forward(config, family)):
        interleave = heads if family.interleaves else 0
        found[f"{name}.weight"] = Target(f"{ours}.weight", (rows, columns), interleave)
        if family.biases == "may" or (family.biases == "qkv" and ours in ("attn_q", "attn_k", "attn_v")):
            found[f"{name}.bias"] = Target(f"{ours}.bias", (rows,), interleave, family.biases == "may")
    for part, heads in (("q", config.heads), ("k", config.kv_heads)) if family.head_norms else ():
        size = config.head_dim if family.head_norms == "head" else heads * config.head_dim
        found[f"self_attn.{part}_norm.weight"] = Target(f"attn_{part}_norm.weight", (size,), shift=family.norm_shift)
    return found | (_experts(config) if family.has_experts else {})


def _attention(config: DecoderConfig, family: Family) -> Iterator[_Matrix]:
    queries, keys, width = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.width
    if family.is_fused:
        yield "self_attn.qkv_proj", "attn_qkv", queries + 2 * keys, width, 0
    else:
        yield "self_attn.q_proj", "attn_q", queries, width, config.heads
        yield "self_attn.k_proj", "attn_k", keys, width, config.kv_heads
        yield "self_attn.v_proj", "attn_v", keys, width, 0
    yield "self_attn.o_proj", "attn_output", width, queries, 0


def _feed_forward(config: DecoderConfig, family: Family) -> Iterator[_Matrix]:
    if family.has_experts:
        return
    if family.is_fused:
        yield "mlp.gate_up_proj", "ffn_up", 2 * config.ffn, config.width, 0
    else:
        yield "mlp.gate_proj", "ffn_gate", config.ffn, config.width, 0
        yield "mlp.up_proj", "ffn_up", config.ffn, config.width, 0
    yield "mlp.down_proj", "ffn_down", config.width, config.ffn, 0


def expert_count(stated: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a JSON value
    """Return the number of experts that ``config.json`` states; transformers 5 has another name for it."""
    return stated.get("num_experts", stated.get("num_local_experts"))


def _experts(config: DecoderConfig) -> dict[str, Target]:
    count, hidden, width = expert_count(config.stated), config.stated["moe_intermediate_size"], config.width
    shapes = {"gate": (hidden, width), "up": (hidden, width), "down": (width, hidden)}
    stacked = {
        f"mlp.experts.{EXPERT}.{part}_proj.weight": Target(f"ffn_{part}_exps.weight", shape, experts=count)
        for part, shape in shapes.items()
    }
    return {"mlp.gate.weight": Target("ffn_gate_inp.weight", (count, width), is_float=True)} | stacked
