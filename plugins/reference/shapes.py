"""Sizes of the networks that this plugin makes or ships: the weights that each has, and its `config.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .family import MASK_ID

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiffusionShape(Shape):
    """The size of a Fast-dLLM v2 network: Qwen2 layers (biases, no norms of queries and keys), tied embeddings."""

    block_size: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name every weight with its dimensions."""
        kept = without_head_norms(Shape.tensors(self))
        biased = ("q_proj.weight", "k_proj.weight", "v_proj.weight")
        biases = {name.replace(".weight", ".bias"): size[:1] for name, size in kept.items() if name.endswith(biased)}
        return kept | biases

    def hf_config(self, *, eos_token_id: int, pad_token_id: int, dtype: str) -> dict[str, Any]:
        """Return the `config.json` as the published models have it; the mask token is in the tokenizer's."""
        config = Shape.hf_config(self, eos_token_id=eos_token_id, pad_token_id=pad_token_id, dtype=dtype)
        for of_qwen3 in ("attention_bias", "head_dim"):
            del config[of_qwen3]
        name = "Fast_dLLM_Qwen"
        return config | {
            "architectures": [f"{name}ForCausalLM"],
            "model_type": name,
            "auto_map": {
                "AutoConfig": f"configuration.{name}Config",
                "AutoModel": f"modeling.{name}Model",
                "AutoModelForCausalLM": f"modeling.{name}ForCausalLM",
            },
            "bd_size": self.block_size,
            "layer_types": ["full_attention"] * self.layers,
        }


def without_head_norms(tensors: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Leave out the norms of queries and keys, which Qwen3 alone has."""
    return {name: size for name, size in tensors.items() if not name.endswith(("q_norm.weight", "k_norm.weight"))}
