"""What one decode step reads: bytes of weights, and of the KV cache for each position."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ...core.sdk.gguf.parts import read_parts

_TABLES = ("token_embd.weight", "position_embd.weight", "token_types.weight")  # a row of each is looked up


def read_weight_bytes(path: Path) -> int | None:
    """Return the bytes of weights that a forward of one token reads; None for a mixture of experts.

    Args:
        path: the GGUF file that the model was loaded from, of a split model the first.
    """
    sizes = {tensor.name: tensor.nbytes for tensor in read_parts(path).tensors}
    if any("_exps." in name for name in sizes):
        return None
    is_tied = "output.weight" not in sizes  # the token table is then the output layer, which is read whole
    looked_up = _TABLES[1:] if is_tied else _TABLES
    return sum(size for name, size in sizes.items() if name not in looked_up)


def kv_bytes_per_token(model: Any, kv_cache_type: str) -> int | None:  # noqa: ANN401 - a C pointer
    """Return the bytes of one position's keys and values over all layers, with the scales of a quantised cache.

    None for models of which not every layer keeps and reads every position in the same way.
    """
    import llama_cpp
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    is_recurrent = llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model)
    kv_heads = _number(model, "attention.head_count_kv")
    if is_recurrent or llama_cpp.llama_model_n_swa(model) or _number(model, "attention.kv_lora_rank") or not kv_heads:
        return None
    head = llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
    keys, values = (_number(model, f"attention.{what}_length") or head for what in ("key", "value"))
    per_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kv_cache_type.upper()]]
    per_layer: int = kv_heads * (keys + values) * block_bytes
    return int(llama_cpp.llama_model_n_layer(model)) * per_layer // per_block


def _number(model: Any, key: str) -> int | None:  # noqa: ANN401 - a C pointer
    """Return a whole number of the model's metadata; None where there is none, or one for each layer."""
    text = _text(model, f"{_text(model, 'general.architecture')}.{key}")
    return int(text) if text.isdecimal() else None


def _text(model: Any, key: str) -> str:  # noqa: ANN401 - a C pointer
    import llama_cpp

    buffer = ctypes.create_string_buffer(128)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode(errors="replace") if length >= 0 else ""
