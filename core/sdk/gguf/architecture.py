"""How a Hugging Face decoder maps to a GGUF model: metadata and tensor names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..decoder_config import DecoderConfig, rope_type
from ..yarn import Yarn

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor's place in the GGUF file.

    Attributes:
        name: GGUF name.
        shape: expected shape in the checkpoint.
        rotary_heads: number of heads whose rows must be interleaved; 0 for none.
        optional: whether the checkpoint may lack it.
    """

    name: str
    shape: tuple[int, ...]
    rotary_heads: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Shape(DecoderConfig):
    """A decoder's configuration, and its place in a GGUF file."""

    def targets(self) -> dict[str, Target]:
        """Return the place of every tensor, by its name in the checkpoint."""
        found = {
            "model.embed_tokens.weight": Target("token_embd.weight", (self.vocab, self.width)),
            "model.norm.weight": Target("output_norm.weight", (self.width,)),
        }
        if not self.tied:
            found["lm_head.weight"] = Target("output.weight", (self.vocab, self.width))
        for layer in range(self.layers):
            for name, target in self._layer_targets().items():
                found[f"model.layers.{layer}.{name}"] = Target(
                    f"blk.{layer}.{target.name}", target.shape, target.rotary_heads, target.optional
                )
        return found

    def _layer_targets(self) -> dict[str, Target]:
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        # (checkpoint name, GGUF name, rows, columns, heads to interleave)
        matrices = (
            ("self_attn.q_proj", "attn_q", queries, self.width, self.heads),
            ("self_attn.k_proj", "attn_k", keys, self.width, self.kv_heads),
            ("self_attn.v_proj", "attn_v", keys, self.width, 0),
            ("self_attn.o_proj", "attn_output", self.width, queries, 0),
            ("mlp.gate_proj", "ffn_gate", self.ffn, self.width, 0),
            ("mlp.up_proj", "ffn_up", self.ffn, self.width, 0),
            ("mlp.down_proj", "ffn_down", self.width, self.ffn, 0),
        )
        found = {
            "input_layernorm.weight": Target("attn_norm.weight", (self.width,)),
            "post_attention_layernorm.weight": Target("ffn_norm.weight", (self.width,)),
        }
        for name, gguf_name, rows, columns, heads in matrices:
            # the llama graph rotates neighbouring pairs, the Qwen graphs rotate halves as the checkpoint does
            interleave = heads if self.arch == "llama" else 0
            found[f"{name}.weight"] = Target(f"{gguf_name}.weight", (rows, columns), interleave)
            if self.arch == "llama" or (self.arch == "qwen2" and gguf_name in ("attn_q", "attn_k", "attn_v")):
                found[f"{name}.bias"] = Target(f"{gguf_name}.bias", (rows,), interleave, self.arch == "llama")
        if self.arch == "qwen3":
            found["self_attn.q_norm.weight"] = Target("attn_q_norm.weight", (self.head_dim,))
            found["self_attn.k_norm.weight"] = Target("attn_k_norm.weight", (self.head_dim,))
        return found

    def write(self, writer: GGUFWriter) -> None:
        """Add the model's metadata to the file."""
        writer.add_vocab_size(self.vocab)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.width)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(self.ffn)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_key_length(self.head_dim)
        writer.add_value_length(self.head_dim)
        writer.add_rope_dimension_count(self.head_dim)
        writer.add_layer_norm_rms_eps(self.norm_eps)
        writer.add_rope_freq_base(self.rope_theta)
        self._write_rope_scaling(writer)

    def _write_rope_scaling(self, writer: GGUFWriter) -> None:
        from gguf import RopeScalingType

        kind = rope_type(self.rope)
        if kind == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(self.rope["factor"]))
        elif kind == "yarn":
            yarn = Yarn.read(self.rope, self.context, "config.json")
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(yarn.factor)
            writer.add_rope_scaling_orig_ctx_len(yarn.original_context)
            writer.add_rope_scaling_yarn_beta_fast(yarn.beta_fast)
            writer.add_rope_scaling_yarn_beta_slow(yarn.beta_slow)
            # llama.cpp multiplies the usual factor in by itself, and ignores yarn_attn_factor beside it
            writer.add_rope_scaling_attn_factors(yarn.attention_factor / yarn.usual_attention_factor)


def interleave_rows(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Turn rows ordered [head][half][pair] into [head][pair][half]; first axis is rows."""
    rows = tensor.shape[0] // heads
    return tensor.reshape(heads, 2, rows // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
