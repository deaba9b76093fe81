"""``config.json`` of a GGUF model: its key-value pairs under the names that Hugging Face has for them.

Written in the form of transformers 4, which later versions and the engines besides read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..checkpoint import is_number
from ..decoder_config import rope_divisors
from ..special_tokens import SpecialTokens
from .architecture import GGUF_ARCHITECTURES
from .metadata import Header, architecture_in, architecture_words

ROPE_FACTORS = "rope_freqs.weight"
"""The tensor of a Llama 3.1 that holds what its rotary frequencies are divided by."""

_MOST = 2**31

_MODEL_TYPES = {"gemma3": "gemma3_text", "qwen3moe": "qwen3_moe"}
_LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_LLAMA3_CONTEXTS = (8192, *(2**power for power in range(5, 20)))  # positions that it was trained for first


def read_configuration(path: Path, header: Header, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``config.json``.

    Args:
        path: the file, for messages.
        header: its tensors.
        metadata: its key-value pairs, lists of texts included.

    Raises:
        ModelError: an architecture or a feature that has no place there; names field and value.
    """
    return _Configuration(path, header, metadata).content()


class _Configuration:
    def __init__(self, path: Path, header: Header, metadata: Mapping[str, Any]) -> None:
        self._path, self._metadata = path, metadata
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        self._arch = architecture_in(metadata) or ""

    def content(self) -> dict[str, Any]:
        known = {arch: name for name, arch in reversed(GGUF_ARCHITECTURES.items())}
        if self._arch not in known:
            raise ModelError(
                f"{self._path}: {architecture_words(self._metadata)} cannot be turned into a Hugging Face folder; "
                f"known: {', '.join(sorted(known))}. An engine that reads GGUF may open it as it is",
                code="model-unsupported",
            )
        if self._arch in ("llama", "qwen2", "qwen3") and self._field("expert_count", 0):
            raise ModelError(
                f"{self._path}: {self._arch}.expert_count: experts are not supported with this architecture",
                code="model-unsupported",
            )
        special = SpecialTokens.of_metadata(self._metadata)
        heads, width = self._number("attention.head_count"), self._number("embedding_length")
        return {
            "architectures": [known[self._arch]],
            "model_type": _MODEL_TYPES.get(self._arch, self._arch),
            "vocab_size": self._rows("token_embd.weight"),
            "hidden_size": width,
            "intermediate_size": self._number("feed_forward_length"),
            "num_hidden_layers": self._number("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._number("attention.head_count_kv", heads),
            "head_dim": self._number("attention.key_length", width // heads),
            "max_position_embeddings": self._number("context_length"),
            "rms_norm_eps": float(f"{self._float('attention.layer_norm_rms_epsilon'):.7g}"),  # single precision
            "tie_word_embeddings": "output.weight" not in self._tensors,
            "bos_token_id": next(iter(special.ids.get("bos_token", ())), None),
            "eos_token_id": list(special.stop_ids()),
            "pad_token_id": next(iter(special.ids.get("pad_token", ())), None),
            **self._rotary(),
            **self._activation(),
            **self._own(),
        }

    def _field(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - a GGUF value
        value = self._metadata.get(f"{self._arch}.{name}", default)
        if value is None:
            raise ModelError(f"{self._path}: {self._arch}.{name} is missing", code="model-config-invalid")
        return value

    def _number(self, name: str, default: int | None = None) -> int:
        value = self._field(name, default)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]
        if isinstance(value, list):
            raise ModelError(
                f"{self._path}: {self._arch}.{name} = {repr(value)[:80]}: the layers differ, which is not supported",
                code="model-unsupported",
            )
        if type(value) is not int or not 1 <= value <= _MOST:
            raise self._wrong(name, value, f"an integer from 1 to {_MOST}")
        return value

    def _float(self, name: str, default: float | None = None) -> float:
        value = self._field(name, default)
        if not is_number(value):
            raise self._wrong(name, value, "a number")
        return float(value)

    def _wrong(self, name: str, value: object, expected: str) -> ModelError:
        return ModelError(
            f"{self._path}: {self._arch}.{name} = {repr(value)[:80]}; expected {expected}", code="model-config-invalid"
        )

    def _rows(self, name: str) -> int:
        if name not in self._tensors:
            raise ModelError(f"{self._path}: tensor {name!r} is missing", code="weights-mismatch")
        return self._tensors[name].shape[0]

    def _rotary(self) -> dict[str, Any]:
        theta = self._float("rope.freq_base", 1e4)
        if theta <= 0:
            raise self._wrong("rope.freq_base", theta, "a number above 0")
        kind = self._field("rope.scaling.type", "none")
        scaling: dict[str, Any] | None = None
        if ROPE_FACTORS in self._tensors:
            scaling = self._llama3(theta)
        elif kind == "linear":
            scaling = {"rope_type": "linear", "factor": self._float("rope.scaling.factor")}
        elif kind == "yarn":
            scaling = self._yarn()
        elif kind != "none":
            raise ModelError(
                f"{self._path}: {self._arch}.rope.scaling.type = {kind!r} is not supported", code="model-unsupported"
            )
        if any(name.startswith("rope_factors_") for name in self._tensors):
            raise ModelError(
                f"{self._path}: tensor 'rope_factors_long.weight': longrope is not supported", code="model-unsupported"
            )
        return {"rope_theta": theta, "rope_scaling": scaling}

    def _yarn(self) -> dict[str, Any]:
        names = {"factor": "factor", "original_context_length": "original_max_position_embeddings"}
        names |= {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}
        given = [name for name in names if f"{self._arch}.rope.scaling.{name}" in self._metadata]
        stated = {names[name]: self._float(f"rope.scaling.{name}") for name in given}
        if self._field("rope.scaling.attn_factor", 1.0) != 1.0:
            raise ModelError(
                f"{self._path}: {self._arch}.rope.scaling.attn_factor is not supported", code="model-unsupported"
            )
        return {"rope_type": "yarn", **stated}

    def _llama3(self, theta: float) -> dict[str, Any]:
        """Find the settings whose frequencies the file has; it holds these alone."""
        import numpy as np

        from .weights import read_floats

        stored = read_floats(self._tensors[ROPE_FACTORS])
        heads, width = self._number("attention.head_count"), self._number("embedding_length")
        dimensions = self._number("rope.dimension_count", width // heads)
        is_scale = bool(np.isfinite(stored).all() and stored.min() > 0) and stored.shape == (dimensions // 2,)
        for context in _LLAMA3_CONTEXTS if is_scale else ():
            scaling = {**_LLAMA3, "factor": float(stored.max()), "original_max_position_embeddings": context}
            found = rope_divisors(scaling, theta, dimensions)
            if found is not None and np.allclose(found, stored, rtol=1e-5):
                return scaling
        raise ModelError(
            f"{self._path}: tensor {ROPE_FACTORS!r} is not the scaling of Llama 3.1", code="model-unsupported"
        )

    def _activation(self) -> dict[str, str]:
        return {"hidden_activation": "gelu_pytorch_tanh"} if self._arch == "gemma3" else {"hidden_act": "silu"}

    def _own(self) -> dict[str, Any]:
        """Return what one family alone has."""
        biases = {
            "attention_bias": "blk.0.attn_q.bias" in self._tensors,
            "mlp_bias": "blk.0.ffn_up.bias" in self._tensors,
        }
        if self._arch == "gemma3":
            return {
                "sliding_window": self._number("attention.sliding_window"),
                "sliding_window_pattern": 6,
                "rope_local_base_freq": self._float("rope.freq_base_swa", 1e4),
                "query_pre_attn_scalar": self._number("attention.key_length"),
                "final_logit_softcapping": self._float("final_logit_softcapping", 0.0) or None,
            }
        if self._arch == "granite":
            return {
                **biases,
                "embedding_multiplier": self._float("embedding_scale", 1.0),
                "attention_multiplier": self._float("attention.scale", 1.0),
                "residual_multiplier": self._float("residual_scale", 1.0),
                "logits_scaling": self._float("logit_scale", 1.0),
            }
        if self._arch == "qwen3moe":
            return {
                "num_experts": self._number("expert_count"),
                "num_experts_per_tok": self._number("expert_used_count"),
                "moe_intermediate_size": self._number("expert_feed_forward_length"),
                "norm_topk_prob": True,
                "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            }
        if self._arch == "phi3":  # llama.cpp does not read its window
            return {"sliding_window": None, "original_max_position_embeddings": self._number("context_length")}
        if self._arch == "smollm3":
            return {**biases, "no_rope_layer_interval": 4, "use_sliding_window": False}
        if self._arch == "qwen2":
            return {"use_sliding_window": False}
        return biases if self._arch == "llama" else {"attention_bias": False}
