"""MLC's weight files: ``tensor-cache.json`` and ``params_shard_N.bin``, read and written.

The table lists shards with their MD5 sums and, in each, tensors with shape, dtype and place. A float32 tensor may be
stored as bfloat16 (``"format": "f32-to-bf16"``), which loses 16 bits of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, ValidationError

from ... import ModelError

if TYPE_CHECKING:
    import numpy as np

TABLE = "tensor-cache.json"
_SHARD_BYTES = 32 * 2**20
_BF16 = "f32-to-bf16"


class _Tensor(BaseModel):
    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint32", "uint16", "uint8", "int8"]
    format: Literal["raw", "f32-to-bf16"]
    nbytes: int = Field(ge=0)
    byteOffset: int = Field(ge=0)


class _Shard(BaseModel):
    dataPath: str
    format: Literal["raw-shard"]
    nbytes: int = Field(ge=0)
    md5sum: str
    records: list[_Tensor]


class _Metadata(BaseModel):
    ParamSize: int
    ParamBytes: float
    BitsPerParam: float


class _Table(BaseModel):
    metadata: _Metadata
    records: list[_Shard]


def read(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every tensor by name, shard by shard, each shard's checksum verified before its first tensor.

    Raises:
        ModelError: the table is malformed, or a shard is missing, cut or damaged; names the file and the sum.
    """
    for shard in _table(folder).records:
        content = _verified(folder / shard.dataPath, shard)
        for tensor in shard.records:
            yield tensor.name, _decoded(folder / shard.dataPath, content, tensor)


def check_shards(folder: Path) -> None:
    """Refuse a folder whose shards are not all there, by the table and the sizes of the files; nothing is read.

    Raises:
        ModelError: the table is malformed, or a shard is missing or cut off; names it.
    """
    for shard in _table(folder).records:
        path = folder / shard.dataPath
        size = path.stat().st_size if isfile(path) else None
        if size != shard.nbytes:
            what = "is missing" if size is None else f"has {size} bytes, {TABLE} says {shard.nbytes}"
            raise ModelError(f"{path}: {what}", code="model-damaged")


def weight_bytes(folder: Path) -> int:
    """Return the bytes of all tensors."""
    return sum(tensor.nbytes for shard in _table(folder).records for tensor in shard.records)


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each tensor in memory by its name, from the table alone."""
    import numpy as np

    tensors = (tensor for shard in _table(folder).records for tensor in shard.records)
    return {tensor.name: math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in tensors}


def _table(folder: Path) -> _Table:
    path = folder / TABLE
    try:
        return _Table.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", code="model-damaged") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: field {where!r}: {first['msg']}", code="model-damaged") from error


def _verified(path: Path, shard: _Shard) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", code="model-damaged") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != shard.md5sum:
        raise ModelError(
            f"{path}: damaged or cut off: {len(content)} bytes with MD5 {found}; "
            f"{TABLE} says {shard.nbytes} bytes with {shard.md5sum}",
            code="model-damaged",
        )
    return content


def _decoded(path: Path, content: bytes, tensor: _Tensor) -> np.ndarray:
    import numpy as np

    is_narrow = tensor.format == _BF16 and tensor.dtype == "float32"
    dtype = np.dtype("<u2") if is_narrow else np.dtype(tensor.dtype).newbyteorder("<")
    count = int(np.prod(tensor.shape, dtype=np.int64))
    if tensor.nbytes != count * dtype.itemsize or tensor.byteOffset + tensor.nbytes > len(content):
        raise ModelError(
            f"{path}: {tensor.name} {tensor.shape} does not fit its {tensor.nbytes} bytes in {TABLE}",
            code="model-damaged",
        )
    values = np.frombuffer(content, dtype, count, tensor.byteOffset).reshape(tensor.shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if is_narrow else values


def write(folder: Path, tensors: Iterable[tuple[str, np.ndarray]], parameters: int) -> None:
    """Write tensors and their table; nothing is rounded.

    Args:
        folder: an existing folder.
        tensors: in the order in which they are to lie.
        parameters: number of weights before quantisation, for the table's bits per parameter.
    """
    shards: list[_Shard] = []
    pending: list[_Tensor] = []
    content = bytearray()

    def close() -> None:
        path = folder / f"params_shard_{len(shards)}.bin"
        path.write_bytes(content)
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        shards.append(
            _Shard(dataPath=path.name, format="raw-shard", nbytes=len(content), md5sum=digest, records=list(pending))
        )
        pending.clear()
        content.clear()

    for name, array in tensors:
        if pending and len(content) + array.nbytes > _SHARD_BYTES:
            close()
        pending.append(
            _Tensor(
                name=name,
                shape=array.shape,
                dtype=str(array.dtype),
                format="raw",
                nbytes=array.nbytes,
                byteOffset=len(content),
            )
        )
        content += array.tobytes()
    if pending:
        close()
    total = sum(shard.nbytes for shard in shards)
    count = sum(len(shard.records) for shard in shards)
    metadata = _Metadata(ParamSize=count, ParamBytes=float(total), BitsPerParam=8 * total / max(parameters, 1))
    table = _Table(metadata=metadata, records=shards)
    (folder / TABLE).write_text(json.dumps(table.model_dump(mode="json"), indent=2) + "\n")
