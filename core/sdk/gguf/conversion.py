"""From a Hugging Face checkpoint to an unquantised GGUF file, one tensor in memory at a time.

Written from the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint, StoredTensor
from ..decoder_config import rope_divisors, rope_type
from .architecture import Shape, Target, interleave_rows
from .formats import FILE_TYPES
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

    shape = Shape.read(checkpoint)
    if rope_type(shape.rope) == "yarn" and not shape.rope.get("truncate", True):
        config = checkpoint.folder / "config.json"
        raise ModelError(f"{config}: yarn with truncate = false is not supported: llama.cpp rounds the bounds")
    vocabulary = Vocabulary.read(checkpoint, shape.vocab)
    plan = list(_plan(checkpoint, shape.targets()))
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
        _declare(writer, target.name, target.shape, _type_for(target, matrix_type))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if divisors is not None:
            writer.write_tensor_data(divisors)
        for stored, target in plan:
            writer.write_tensor_data(_converted(stored, target, _type_for(target, matrix_type)))
    finally:
        writer.close()


def _type_for(target: Target, matrix_type: GGMLQuantizationType) -> GGMLQuantizationType:
    return matrix_type if len(target.shape) > 1 else type(matrix_type).F32


def _declare(writer: GGUFWriter, name: str, shape: tuple[int, ...], kind: GGMLQuantizationType) -> None:
    import numpy as np

    nbytes = (4 if kind.name == "F32" else 2) * int(np.prod(shape))
    writer.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, raw_dtype=kind)


def _plan(checkpoint: Checkpoint, targets: dict[str, Target]) -> Iterator[tuple[StoredTensor, Target]]:
    """Pair every stored tensor with its target; nothing may be missing, left over or of another shape."""
    config = checkpoint.folder / "config.json"
    for name, target in targets.items():
        stored = checkpoint.tensors.get(name)
        if stored is None:
            if target.optional:
                continue
            raise ModelError(f"{checkpoint.folder}: tensor {name!r} is missing from the safetensors files")
        if stored.shape != target.shape:
            raise ModelError(
                f"{stored.path}: tensor {name!r} has shape {stored.shape}; {config.name} asks for {target.shape}"
            )
        yield stored, target
    ignored = {"lm_head.weight"}  # written beside tied embeddings by some tools
    for name, stored in checkpoint.tensors.items():
        if name not in targets and name not in ignored and not name.endswith("rotary_emb.inv_freq"):
            raise ModelError(f"{stored.path}: tensor {name!r} has no place in this architecture's GGUF graph")


def _converted(stored: StoredTensor, target: Target, kind: GGMLQuantizationType) -> np.ndarray:
    import numpy as np
    from gguf import quants

    tensor = stored.read()
    if target.rotary_heads:
        tensor = interleave_rows(tensor, target.rotary_heads)
    if kind.name != "F16":
        return quants.quantize(np.ascontiguousarray(tensor), kind)
    largest = float(np.abs(tensor).max(initial=0.0))
    if largest > 65504.0:  # would become infinity
        raise ModelError(
            f"{stored.path}: tensor {stored.name!r} holds {largest:g}, beyond f16; use bf16 or f32 instead"
        )
    return np.ascontiguousarray(tensor, dtype=np.float16)
