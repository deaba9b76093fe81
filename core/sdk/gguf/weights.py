"""Weights of a GGUF model as plain numbers, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import ModelError
from .metadata import GgufTensor

if TYPE_CHECKING:
    import numpy as np

_CHUNK_WEIGHTS = 8 * 2**20  # unpacked at once: 32 MiB of float32, and some times that while they are


def plain_dtype(tensor: GgufTensor) -> str:
    """Return the safetensors dtype that holds a tensor's values exactly."""
    return {"f16": "F16", "bf16": "BF16"}.get(tensor.kind.name, "F32")


def raw_rows(tensor: GgufTensor) -> np.ndarray:
    """Map a tensor's bytes, [rows, bytes of a row]."""
    import numpy as np

    row_bytes = tensor.kind.nbytes(tensor.shape[-1])
    shape = (tensor.elements // tensor.shape[-1], row_bytes)
    return np.memmap(tensor.path, dtype=np.uint8, mode="r", offset=tensor.start, shape=shape)


def read_floats(tensor: GgufTensor) -> np.ndarray:
    """Return a whole tensor in float32."""
    import numpy as np

    return np.concatenate(list(float_chunks(tensor))).reshape(tensor.shape)


def float_chunks(tensor: GgufTensor) -> Iterator[np.ndarray]:
    """Yield a tensor in float32, some rows at a time, [n, row].

    Raises:
        ModelError: the package ``gguf`` cannot unpack its format.
    """
    from gguf import GGMLQuantizationType, quants

    rows = raw_rows(tensor)
    step = max(1, _CHUNK_WEIGHTS // tensor.shape[-1])
    for start in range(0, len(rows), step):
        try:
            yield quants.dequantize(rows[start : start + step], GGMLQuantizationType[tensor.kind.name.upper()])
        except NotImplementedError as error:
            raise ModelError(
                f"{tensor.path}: tensor {tensor.name!r} is {tensor.kind.name}, which cannot be unpacked",
                code="quantisation-unsupported",
            ) from error
