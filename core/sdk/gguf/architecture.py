"""How a Hugging Face decoder maps to a GGUF model: metadata and tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ...errors import ModelError
from ..checkpoint import Checkpoint, is_number
from ..decoder_config import ARCHITECTURES, DecoderConfig, rope_type
from ..yarn import Yarn
from .layers import FAMILIES, Target, expert_count, layer_targets

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

GGUF_ARCHITECTURES = {
    **ARCHITECTURES,
    "Gemma3ForCausalLM": "gemma3",
    "GraniteForCausalLM": "granite",
    "Olmo2ForCausalLM": "olmo2",
    "Phi3ForCausalLM": "phi3",
    "Qwen3MoeForCausalLM": "qwen3moe",
    "SmolLM3ForCausalLM": "smollm3",
}
"""``architectures[0]`` of ``config.json`` to ``general.architecture``."""

_WIDEST = 2**16  # experts, and rows of one
_NO_ROPE_STEP = 4  # llama.cpp has it in its code: of SmolLM3's layers every fourth is not rotated
_WINDOW_STEP = 6  # and of Gemma 3's every sixth has no window


@dataclass(frozen=True, slots=True)
class Shape(DecoderConfig):
    """A decoder's configuration, and its place in a GGUF file."""

    @classmethod
    def of_any(cls, checkpoint: Checkpoint) -> Self:
        """Read the configuration of every architecture that llama.cpp runs and that is known here.

        Raises:
            ModelError: an unsupported architecture or feature; names field and value.
        """
        shape = cls.read(checkpoint, GGUF_ARCHITECTURES)
        for name, value in _FIXED.get(shape.arch, {}).items():
            stated = checkpoint.config.get(name)
            if stated not in (None, value):
                raise ModelError(
                    f"{checkpoint.folder / 'config.json'}: {name} = {stated!r} is not supported: llama.cpp's graph of "
                    f"{shape.arch} has {value!r}",
                    code="model-unsupported",
                )
        _check_own(checkpoint, shape)
        _check_pattern(checkpoint, shape)
        return shape

    def targets(self) -> dict[str, Target]:
        """Return the place of every tensor, by its name in the checkpoint."""
        found = {
            "model.embed_tokens.weight": Target("token_embd.weight", (self.vocab, self.width)),
            "model.norm.weight": Target("output_norm.weight", (self.width,), shift=FAMILIES[self.arch].norm_shift),
        }
        if not self.tied:
            found["lm_head.weight"] = Target("output.weight", (self.vocab, self.width))
        for name, target in layer_targets(self).items():
            for layer in range(self.layers):
                found[f"model.layers.{layer}.{name}"] = _in_layer(target, layer)
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
        self._write_own(writer)

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

    def _write_own(self, writer: GGUFWriter) -> None:
        """Add what one family alone has."""
        stated = self.stated
        if self.arch == "gemma3":
            writer.add_sliding_window(stated["sliding_window"])
            writer.add_rope_freq_base_swa(float(_local_theta(stated)))
            if stated.get("final_logit_softcapping"):
                writer.add_final_logit_softcapping(stated["final_logit_softcapping"])
        elif self.arch == "granite":
            writer.add_embedding_scale(stated.get("embedding_multiplier", 1.0))
            writer.add_attention_scale(stated.get("attention_multiplier", 1.0))
            writer.add_residual_scale(stated.get("residual_multiplier", 1.0))
            writer.add_logit_scale(stated.get("logits_scaling", 1.0))
        elif self.arch == "phi3":
            writer.add_rope_scaling_orig_ctx_len(stated.get("original_max_position_embeddings") or self.context)
            writer.add_sliding_window(0)  # the context is no longer than the window; 0 says that there is none
        elif self.arch == "qwen3moe":
            writer.add_expert_count(expert_count(stated))
            writer.add_expert_used_count(stated["num_experts_per_tok"])
            writer.add_expert_feed_forward_length(stated["moe_intermediate_size"])


_FIXED: dict[str, dict[str, Any]] = {
    "gemma3": {"attention_bias": False, "attn_logit_softcapping": None, "use_bidirectional_attention": False},
    "granite": {},
    "olmo2": {"attention_bias": False, "tie_word_embeddings": False},
    "phi3": {"attention_bias": False},
    "qwen3moe": {"attention_bias": False, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
    "smollm3": {"no_rope_layer_interval": _NO_ROPE_STEP, "use_sliding_window": False},
}
"""What llama.cpp's graphs take for granted, by fields of ``config.json``."""


def _check_pattern(checkpoint: Checkpoint, shape: Shape) -> None:
    """Refuse layers in another order than llama.cpp's graph has them, and a Gemma 3 with another scale of attention."""
    path, stated = checkpoint.folder / "config.json", shape.stated

    def check(name: str, expected: list[Any]) -> None:
        if stated.get(name) not in (None, expected):
            raise ModelError(
                f"{path}: {name} is not supported: llama.cpp's graph of {shape.arch} has {expected}",
                code="model-unsupported",
            )

    if shape.arch == "smollm3":
        check("no_rope_layers", [int((layer + 1) % _NO_ROPE_STEP != 0) for layer in range(shape.layers)])
    if shape.arch == "gemma3":
        kinds = ("full_attention", "sliding_attention")
        check("layer_types", [kinds[(layer + 1) % _WINDOW_STEP != 0] for layer in range(shape.layers)])
        scalar = checkpoint.field("query_pre_attn_scalar", float, 256.0)
        if scalar != shape.head_dim:
            raise ModelError(
                f"{path}: query_pre_attn_scalar = {scalar:g} is not supported: llama.cpp scales by head_dim = "
                f"{shape.head_dim}",
                code="model-unsupported",
            )


def _check_own(checkpoint: Checkpoint, shape: Shape) -> None:
    """Check the fields that one family alone has."""
    stated = shape.stated
    if shape.arch == "qwen3moe":
        for name in ("num_experts_per_tok", "moe_intermediate_size", _name_of_experts(stated)):
            checkpoint.count(name, most=_WIDEST)
    if shape.arch == "granite":
        for name in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
            checkpoint.field(name, float, 1.0)
    if shape.arch == "phi3":
        checkpoint.count("original_max_position_embeddings", shape.context)
    if shape.arch == "gemma3":
        checkpoint.count("sliding_window")
        checkpoint.field("final_logit_softcapping", float, 0.0)
        if not is_number(_local_theta(stated)):
            path = checkpoint.folder / "config.json"
            raise ModelError(f"{path}: rope_local_base_freq: expected a number", code="model-config-invalid")


def _name_of_experts(stated: Mapping[str, Any]) -> str:
    return "num_experts" if "num_experts" in stated else "num_local_experts"


def _local_theta(stated: Any) -> Any:  # noqa: ANN401 - config.json
    """Return the rotary base of the layers with windows."""
    local = (stated.get("rope_parameters") or {}).get("sliding_attention")
    own = local.get("rope_theta") if isinstance(local, dict) else None
    return own or stated.get("rope_local_base_freq") or 1e4


def _in_layer(target: Target, layer: int) -> Target:
    return replace(target, name=f"blk.{layer}.{target.name}")


def interleave_rows(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Turn rows ordered [head][half][pair] into [head][pair][half]; first axis is rows."""
    rows = tensor.shape[0] // heads
    return tensor.reshape(heads, 2, rows // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def part_rows(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Turn rows back from [head][pair][half] into [head][half][pair]: the inverse of ``interleave_rows``."""
    rows = tensor.shape[0] // heads
    return tensor.reshape(heads, rows // 2, 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
