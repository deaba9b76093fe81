"""Opening a GGUF file with tinygrad's own loader, which unpacks the weights as the kernels use them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import ModelError

if TYPE_CHECKING:
    import numpy as np
    from tinygrad import Tensor
    from tinygrad.llm.model import Transformer

ARCHITECTURES = ("llama", "qwen2", "qwen3", "qwen3moe", "olmoe")
"""Those that tinygrad's ``Transformer`` computes with plain attention."""

_ROPE_FACTORS = "rope_freqs.weight"
_DAMAGE = (ValueError, KeyError, IndexError, OverflowError, RuntimeError, struct.error)


@dataclass(frozen=True, slots=True)
class GgufModel:
    """An opened file.

    Attributes:
        model: with its weights in place.
        metadata: the file's key-value pairs.
        parameters: number of weights, tied ones once.
        weight_bytes: size of the file, whose bytes stay in memory as they are.
        divisors: what each rotary frequency is divided by; None for plain ones.
    """

    model: Transformer
    metadata: dict[str, Any]
    parameters: int
    weight_bytes: int
    divisors: np.ndarray | None


def open_gguf(path: Path, n_ctx: int) -> GgufModel:
    """Load a file for ``n_ctx`` positions, or as many as the model has if those are fewer.

    Raises:
        ModelError: damaged, split, or of an architecture or number format that tinygrad lacks; names the cause.
    """
    from tinygrad import Tensor
    from tinygrad.llm.gguf import gguf_load
    from tinygrad.llm.model import Transformer
    from tinygrad.nn.state import get_state_dict

    try:
        stored = Tensor(path).to(None).realize()
        metadata, tensors = gguf_load(stored)
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: tinygrad cannot read it, or it is cut off ({_line(error)})", code="model-damaged"
        ) from error
    divisors = _divisors(path, metadata, tensors)
    try:
        model, _ = Transformer.from_gguf(stored, n_ctx)
    except _DAMAGE as error:
        raise ModelError(f"{path}: tinygrad cannot load it ({_line(error)})", code="load-failed") from error
    unused = sorted(set(tensors) - set(get_state_dict(model)) - {_ROPE_FACTORS})
    if unused:
        raise ModelError(
            f"{path}: tinygrad's model would leave {len(unused)} tensors out, such as {unused[0]!r}",
            code="weights-mismatch",
        )
    parameters = sum(math.prod(t.shape) for name, t in tensors.items() if name != _ROPE_FACTORS)
    return GgufModel(model, metadata, int(parameters), stored.nbytes(), divisors)


def check_architecture(path: Path, metadata: Mapping[str, Any]) -> str:
    """Return a file's architecture; raises ``ModelError`` for one that tinygrad's ``Transformer`` lacks."""
    arch = metadata.get("general.architecture")
    if arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(
            f"{path}: general.architecture = {arch!r} is not supported with tinygrad; known: {known}",
            code="model-unsupported",
        )
    return str(arch)


def _divisors(path: Path, metadata: dict[str, Any], tensors: dict[str, Tensor]) -> np.ndarray | None:
    """Check what tinygrad's loader takes for granted, and return the rotary scaling that it leaves out."""
    import numpy as np

    arch = check_architecture(path, metadata)
    if arch == "llama" and "blk.0.attn_q.bias" in tensors:
        raise ModelError(
            f"{path}: tensor 'blk.0.attn_q.bias': tinygrad loads no biases of a llama model", code="model-unsupported"
        )
    if _ROPE_FACTORS in tensors:
        return np.asarray(tensors[_ROPE_FACTORS].float().numpy(), dtype=np.float64)
    kind = metadata.get(f"{arch}.rope.scaling.type", "none")
    attention = metadata.get(f"{arch}.rope.scaling.attn_factor", 1.0)
    if attention != 1.0:
        raise ModelError(
            f"{path}: {arch}.rope.scaling.attn_factor = {attention:g} is not supported; use llama-cpp",
            code="model-unsupported",
        )
    if kind == "linear":
        heads = metadata[f"{arch}.attention.head_count"]
        width = metadata.get(f"{arch}.attention.key_length", metadata[f"{arch}.embedding_length"] // heads)
        dimensions = metadata.get(f"{arch}.rope.dimension_count", width)
        return np.full(dimensions // 2, float(metadata[f"{arch}.rope.scaling.factor"]))
    if kind != "none":
        raise ModelError(
            f"{path}: {arch}.rope.scaling.type = {kind!r} is not supported with tinygrad; use llama-cpp",
            code="model-unsupported",
        )
    return None


def context_length(metadata: dict[str, Any]) -> int:
    """Return the longest sequence that the model was trained for."""
    return int(metadata[f"{metadata['general.architecture']}.context_length"])


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"no {text}" if isinstance(error, KeyError) else text
