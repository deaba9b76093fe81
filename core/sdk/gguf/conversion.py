"""From a Hugging Face checkpoint to an unquantised GGUF file, one tensor in memory at a time.

Written from the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint, StoredTensor
from ..decoder_config import rope_divisors, rope_type
from .architecture import Shape, interleave_rows
from .formats import FILE_TYPES
from .layers import EXPERT, Target
from .tokenizer import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

CONVERTER_VERSION = "2"
"""Part of the cache key; raised whenever the file's content changes."""

_TYPE_OF = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


def lossless_type(checkpoint: Checkpoint) -> str:
    """Return the unquantised format that holds the checkpoint's weights exactly."""
    return _TYPE_OF[checkpoint.main_dtype()]


def write_gguf(checkpoint: Checkpoint, path: Path, type_name: str, name: str) -> None:
    """Write the checkpoint with its tokenizer to ``path``.

    Args:
        checkpoint: an opened folder.
        path: the file to write.
        type_name: format of matrices: ``"f32"``, ``"f16"`` or ``"bf16"``; vectors stay f32, as the engine wants.
        name: the model's name for ``general.name``.

    Raises:
        ModelError: the checkpoint cannot be represented; names file, field and value.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    shape = Shape.of_any(checkpoint)
    if rope_type(shape.rope) == "yarn" and not shape.rope.get("truncate", True):
        config = checkpoint.folder / "config.json"
        raise ModelError(
            f"{config}: yarn with truncate = false is not supported: llama.cpp rounds the bounds",
            code="model-unsupported",
        )
    vocabulary = Vocabulary.read(checkpoint, shape.vocab)
    plan = pair_tensors(checkpoint, shape.targets())
    matrix_type = GGMLQuantizationType[type_name.upper()]
    divisors = rope_divisors(shape.rope, shape.rope_theta, shape.head_dim)

    writer = GGUFWriter(path, shape.arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[type_name])
    shape.write(writer)
    vocabulary.write(writer)
    if divisors is not None:
        _declare(writer, "rope_freqs.weight", divisors.shape, GGMLQuantizationType.F32)
    for _, target in plan:
        stacked = (target.experts,) if target.experts else ()
        _declare(writer, target.name, (*stacked, *target.shape), _type_for(target, matrix_type))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if divisors is not None:
            writer.write_tensor_data(divisors)
        for parts, target in plan:
            writer.write_tensor_data(_converted(parts, target, _type_for(target, matrix_type)))
    finally:
        writer.close()


Parts = tuple[StoredTensor, ...]
"""What a tensor of the file is made of: one of the checkpoint, or the experts that are stacked in it."""


def _type_for(target: Target, matrix_type: GGMLQuantizationType) -> GGMLQuantizationType:
    return matrix_type if len(target.shape) > 1 and not target.is_float else type(matrix_type).F32


def _declare(writer: GGUFWriter, name: str, shape: tuple[int, ...], kind: GGMLQuantizationType) -> None:
    import numpy as np

    nbytes = (4 if kind.name == "F32" else 2) * math.prod(shape)
    writer.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, raw_dtype=kind)


def pair_tensors(checkpoint: Checkpoint, targets: dict[str, Target]) -> list[tuple[Parts, Target]]:
    """Pair every stored tensor with its target, as the headers say.

    Raises:
        ModelError: one is missing, left over or of another shape; names file and tensor.
    """
    return list(_pairs(checkpoint, targets))


def _pairs(checkpoint: Checkpoint, targets: dict[str, Target]) -> Iterator[tuple[Parts, Target]]:
    rest = dict(checkpoint.tensors)
    for name, target in targets.items():
        names = [name.replace(EXPERT, str(expert)) for expert in range(target.experts or 1)]
        parts = tuple(found for each in names if (found := rest.pop(each, None)) is not None)
        if not parts and target.optional:
            continue
        if len(parts) < len(names):
            missing = next(each for each in names if each not in checkpoint.tensors)
            raise ModelError(
                f"{checkpoint.folder}: tensor {missing!r} is missing from the safetensors files",
                code="weights-mismatch",
            )
        for stored in parts:
            if stored.shape != target.shape:
                raise ModelError(
                    f"{stored.path}: tensor {stored.name!r} has shape {stored.shape}; config.json asks for "
                    f"{target.shape}",
                    code="weights-mismatch",
                )
        yield parts, target
    for name, stored in rest.items():
        # a copy of tied embeddings is written by some tools, and so are tables, scales of caches and the like
        if name != "lm_head.weight" and name.endswith((".weight", ".bias")):
            raise ModelError(
                f"{stored.path}: tensor {name!r} has no place in a model of the architecture and size that config.json "
                "states",
                code="weights-mismatch",
            )


def _converted(parts: Parts, target: Target, kind: GGMLQuantizationType) -> np.ndarray:
    import numpy as np
    from gguf import quants

    tensor = np.stack([stored.read() for stored in parts]) if target.experts else parts[0].read()
    if target.shift:
        tensor = tensor + np.float32(target.shift)
    if target.rotary_heads:
        tensor = interleave_rows(tensor, target.rotary_heads)
    if kind.name != "F16":
        return quants.quantize(np.ascontiguousarray(tensor), kind)
    largest = float(np.abs(tensor).max(initial=0.0))
    if largest > 65504.0:  # would become infinity
        stored = parts[0]
        raise ModelError(
            f"{stored.path}: tensor {stored.name!r} holds {largest:g}, beyond f16; use bf16 or f32 instead",
            code="quantisation-unsupported",
        )
    return np.ascontiguousarray(tensor, dtype=np.float16)
