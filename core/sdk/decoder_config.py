"""The configuration of a Llama-like decoder, read from ``config.json`` and checked: what converters build on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import ModelError
from .checkpoint import ITEM_SIZES, Checkpoint, StoredTensor, architecture_of, has_weight_files, is_number
from .yarn import Yarn

if TYPE_CHECKING:
    import numpy as np

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""What has the layers of Llama, Qwen2 or Qwen3, by the names in ``config.json``."""

_WINDOWED = ("MistralForCausalLM", "Phi3ForCausalLM")
"""Architectures that may have one sliding window in all layers; up to its length it changes nothing."""

_TIED = ("gemma3", "smollm3")
"""Families whose output layer is the embedding where ``config.json`` says nothing of it."""

_LONGEST = 2**31  # positions
_DEEPEST = 2**12  # layers

_ACTIVATIONS = {"gemma3": ("hidden_activation", "gelu_pytorch_tanh")}


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Hyper-parameters of a decoder, read from ``config.json`` and checked.

    Attributes:
        arch: the family whose layers it has.
        context: longest sequence in tokens, no longer than a sliding window that all layers have.
        stated: ``config.json`` itself, for what one family alone has.
    """

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
    stated: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls, checkpoint: Checkpoint, architectures: Mapping[str, str] = ARCHITECTURES, *, has_windows: bool = False
    ) -> Self:
        """Read and check the configuration.

        Args:
            checkpoint: the opened folder.
            architectures: accepted ``architectures[0]`` -> the family whose layers it has.
            has_windows: the caller reads sliding windows itself; else a model that has them is refused.

        Raises:
            ModelError: an unsupported architecture or feature; names field and value.
        """
        path = checkpoint.folder / "config.json"
        name = architecture_of(checkpoint.config, path)
        if name is None or name not in architectures:
            raise ModelError(
                f"{path}: architecture {name!r} is not supported; known: {', '.join(architectures)}",
                code="model-unsupported",
            )
        arch = architectures[name]
        _reject_unsupported(checkpoint, arch, has_windows=has_windows)
        value, count = checkpoint.field, checkpoint.count
        heads, width = count("num_attention_heads"), count("hidden_size")
        rope = _rope(checkpoint)
        context = count("max_position_embeddings", most=_LONGEST)
        if name in _WINDOWED:
            context = min(context, count("sliding_window", context, _LONGEST))
        theta = value("rope_theta", float, 1e6 if arch == "gemma3" else 1e4)
        found = cls(
            arch=arch,
            vocab=count("vocab_size"),
            width=width,
            ffn=count("intermediate_size"),
            layers=count("num_hidden_layers", most=_DEEPEST),
            heads=heads,
            kv_heads=count("num_key_value_heads", heads),
            head_dim=count("head_dim", width // heads),
            context=context,
            norm_eps=value("rms_norm_eps", float, 1e-6),
            tied=value("tie_word_embeddings", bool, arch in _TIED) and not has_own_head(_tensors(checkpoint)),
            rope_theta=float(rope.get("rope_theta") or theta),
            rope=rope,
            stated=checkpoint.config,
        )
        _check_heads(path, found)
        return found


def has_own_head(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether the weights hold an output layer that is not the embedding, whatever the configuration says.

    transformers does not tie the two then; engines that go by the configuration alone would drop the layer.
    """
    head, table = (tensors.get(f"{name}.weight") for name in ("lm_head", "model.embed_tokens"))
    return head is not None and table is not None and not _is_copy(head, table)


def _tensors(checkpoint: Checkpoint) -> Mapping[str, StoredTensor]:
    """Return the tensors of a folder; none where it is a description alone."""
    return checkpoint.tensors if has_weight_files(checkpoint.folder) else {}


@lru_cache(maxsize=16)  # every cell of a plan asks
def _is_copy(one: StoredTensor, other: StoredTensor) -> bool:
    import numpy as np

    def content(tensor: StoredTensor) -> np.ndarray:
        return np.memmap(tensor.path, dtype="u1", mode="r", offset=tensor.start, shape=(tensor.nbytes,))

    if one.shape != other.shape:
        return False
    if one.dtype == other.dtype:
        return np.array_equal(content(one), content(other))
    return {one.dtype, other.dtype} <= ITEM_SIZES.keys() and np.array_equal(one.read(), other.read())


def _check_heads(path: Path, config: DecoderConfig) -> None:
    if config.heads % config.kv_heads:
        raise ModelError(
            f"{path}: num_attention_heads = {config.heads} is not a multiple of num_key_value_heads = "
            f"{config.kv_heads}",
            code="model-config-invalid",
        )
    if config.head_dim % 2:
        raise ModelError(
            f"{path}: head_dim = {config.head_dim}: only an even number can be rotated", code="model-config-invalid"
        )
    if not config.rope_theta > 0:
        raise ModelError(f"{path}: rope_theta = {config.rope_theta}; must be above 0", code="model-config-invalid")


def _rope(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the rotary settings, of a model with windows those of the layers without.

    transformers >= 5 writes rope_parameters; before it was rope_theta beside rope_scaling.
    """
    rope: dict[str, Any] = checkpoint.field("rope_parameters", dict, checkpoint.field("rope_scaling", dict, {}))
    whole = rope.get("full_attention", rope)
    found = whole if isinstance(whole, dict) else {}
    theta = found.get("rope_theta")
    if theta is not None and not is_number(theta):
        raise ModelError(
            f"{checkpoint.folder / 'config.json'}: rope_theta = {repr(theta)[:80]}; expected float",
            code="model-config-invalid",
        )
    return found


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
    with np.errstate(all="ignore"):  # what overflows has its limit
        exponents = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
        turns = original / (2 * math.pi * theta**exponents)  # rotations within the original context
        share = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return (1.0 / ((1.0 - share) / factor + share)).astype(np.float32)


_ROPE_FIELDS = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


_ROPE_KINDS = {
    "llama": ("default", "linear", "yarn", "llama3"),
    "gemma3": ("default", "linear"),
    **dict.fromkeys(("qwen2", "qwen3", "qwen3moe"), ("default", "linear", "yarn")),
}
"""Kinds of rotary scaling by family; the others have none."""


def _reject_unsupported(checkpoint: Checkpoint, arch: str, *, has_windows: bool) -> None:
    config, path = checkpoint.config, checkpoint.folder / "config.json"

    def reject(field: str, why: str) -> None:
        raise ModelError(f"{path}: {field} = {config.get(field)!r} is not supported ({why})", code="model-unsupported")

    if config.get("quantization_config"):
        reject("quantization_config", "the weights must be f32, f16 or bf16")
    field, activation = _ACTIVATIONS.get(arch, ("hidden_act", "silu"))
    if config.get(field, activation) != activation:
        reject(field, f"only {activation!r} is known for {arch}")
    if config.get("use_sliding_window") and not has_windows:
        reject("use_sliding_window", "attention would span the whole context")
    if architecture_of(config, path) == "Qwen3ForCausalLM" and config.get("attention_bias"):
        reject("attention_bias", "qwen3 has none here")
    _reject_rotary(checkpoint, arch)


def _reject_rotary(checkpoint: Checkpoint, arch: str) -> None:
    config, path = checkpoint.config, checkpoint.folder / "config.json"
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    rope = _rope(checkpoint)
    kind = rope_type(rope)
    known = _ROPE_KINDS.get(arch, ("default",))
    if kind not in known:
        raise ModelError(
            f"{path}: {name} = {rope!r} is not supported (known types for {arch}: {', '.join(known)})",
            code="model-unsupported",
        )
    missing = [key for key in _ROPE_FIELDS[kind] if key not in rope]
    if missing:
        raise ModelError(
            f"{path}: {name} = {rope!r} is not supported ({kind} needs {', '.join(missing)})",
            code="model-config-invalid",
        )
    if kind == "yarn":
        Yarn.read(rope, checkpoint.count("max_position_embeddings", most=_LONGEST), f"{path}: {name}")
    elif wrong := [key for key in _ROPE_FIELDS[kind] if not (is_number(rope[key]) and rope[key] > 0)]:
        raise ModelError(
            f"{path}: {name}.{wrong[0]} = {repr(rope[wrong[0]])[:80]}; expected a number above 0",
            code="model-config-invalid",
        )
    elif kind == "llama3" and rope["low_freq_factor"] >= rope["high_freq_factor"]:
        raise ModelError(
            f"{path}: {name}.low_freq_factor = {rope['low_freq_factor']} is not below high_freq_factor = "
            f"{rope['high_freq_factor']}",
            code="model-config-invalid",
        )
    for place, value in (
        (f"{name}.partial_rotary_factor", rope.get("partial_rotary_factor")),
        ("partial_rotary_factor", config.get("partial_rotary_factor")),
    ):
        if value not in (None, 1.0):
            raise ModelError(
                f"{path}: {place} = {value!r} is not supported (only whole heads are rotated)", code="model-unsupported"
            )
