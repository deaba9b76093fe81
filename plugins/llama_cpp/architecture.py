"""How a Hugging Face decoder maps to a GGUF model: metadata and tensor names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import ModelError
from .checkpoint import Checkpoint

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}


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
class Shape:
    """Hyper-parameters of a decoder, read from ``config.json`` and checked."""

    arch: str
    vocab: int
    width: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    norm_eps: float
    tied: bool
    rope_theta: float
    rope: Mapping[str, Any]

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Shape:
        """Read and check the configuration.

        Raises:
            ModelError: an unsupported architecture or feature; names field and value.
        """
        path = checkpoint.folder / "config.json"
        names = checkpoint.config.get("architectures") or [None]
        if names[0] not in ARCHITECTURES:
            raise ModelError(f"{path}: architecture {names[0]!r} is not supported; known: {', '.join(ARCHITECTURES)}")
        arch = ARCHITECTURES[names[0]]
        _reject_unsupported(checkpoint, arch)
        field = checkpoint.field
        heads = field("num_attention_heads", int)
        width = field("hidden_size", int)
        # transformers >= 5 writes rope_parameters; before it was rope_theta beside rope_scaling
        rope = field("rope_parameters", dict, field("rope_scaling", dict, {}))
        return cls(
            arch=arch,
            vocab=field("vocab_size", int),
            width=width,
            ffn=field("intermediate_size", int),
            layers=field("num_hidden_layers", int),
            heads=heads,
            kv_heads=field("num_key_value_heads", int, heads),
            head_dim=field("head_dim", int, width // heads),
            context=field("max_position_embeddings", int),
            norm_eps=field("rms_norm_eps", float, 1e-6),
            tied=field("tie_word_embeddings", bool, False),
            rope_theta=float(rope.get("rope_theta") or field("rope_theta", float, 10000.0)),
            rope=rope,
        )

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
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(float(self.rope["factor"]))
            original = self.rope.get("original_max_position_embeddings") or self.context
            writer.add_rope_scaling_orig_ctx_len(int(original))


def rope_type(rope: Mapping[str, Any]) -> str:
    """Return the kind of rotary scaling, ``"default"`` without."""
    return str(rope.get("rope_type") or rope.get("type") or "default")


def rope_divisors(rope: Mapping[str, Any], theta: float, head_dim: int) -> np.ndarray | None:
    """Return what each rotary frequency is divided by (``llama3`` scaling), [head_dim / 2]; None without.

    Long wavelengths are stretched by ``factor``, short ones kept, those between interpolated (Llama 3.1).
    """
    import numpy as np

    if rope_type(rope) != "llama3":
        return None
    factor, low, high = (float(rope[k]) for k in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(rope["original_max_position_embeddings"])
    exponents = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
    turns = original / (2 * math.pi * theta**exponents)  # rotations within the original context
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - share) / factor + share)).astype(np.float32)


def interleave_rows(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Turn rows ordered [head][half][pair] into [head][pair][half]; first axis is rows."""
    rows = tensor.shape[0] // heads
    return tensor.reshape(heads, 2, rows // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


_ROPE_FIELDS = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def _reject_unsupported(checkpoint: Checkpoint, arch: str) -> None:
    config, path = checkpoint.config, checkpoint.folder / "config.json"

    def reject(field: str, why: str) -> None:
        raise ModelError(f"{path}: {field} = {config.get(field)!r} is not supported ({why})")

    if config.get("quantization_config"):
        reject("quantization_config", "the weights must be f32, f16 or bf16")
    if config.get("hidden_act", "silu") != "silu":
        reject("hidden_act", f"the {arch} graph of llama.cpp is fixed to 'silu'")
    if config.get("use_sliding_window"):
        reject("use_sliding_window", "attention would span the whole context")
    if arch == "qwen3" and config.get("attention_bias"):
        reject("attention_bias", "the qwen3 graph of llama.cpp has no biases")
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    rope = config.get(name) or {}
    kind = rope_type(rope)
    known = [k for k in _ROPE_FIELDS if k != "llama3" or arch == "llama"]
    if kind not in known:
        reject(name, f"known types for {arch}: {', '.join(known)}")
    missing = [key for key in _ROPE_FIELDS[kind] if key not in rope]
    if missing:
        reject(name, f"{kind} needs {', '.join(missing)}")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) not in (None, 1.0):
        reject("partial_rotary_factor", "only whole heads are rotated")
