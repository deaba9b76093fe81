"""Reading a Hugging Face checkpoint folder tensor by tensor."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    import numpy as np

ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a weight, by what safetensors calls its format."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: ``nbytes`` from byte ``start`` of ``path``, row-major, ``dtype`` as safetensors names it."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    def map(self) -> np.ndarray:
        """Map the tensor as it is stored, bfloat16 as int16; what is written to it stays in memory."""
        import numpy as np

        stored = {"F32": "<f4", "F16": "<f2", "BF16": "<i2"}[self.dtype]
        return np.memmap(self.path, dtype=stored, mode="c", offset=self.start, shape=self.shape)

    def read(self) -> np.ndarray:
        """Return the tensor as float32; the file is mapped, so only this tensor occupies memory."""
        import numpy as np

        raw = self.map()
        if self.dtype == "BF16":  # the upper half of a float32
            return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)


class Checkpoint:
    """A folder with ``config.json``, safetensors and a tokenizer.

    Raises:
        ModelError: a file is missing, cut off or not what its name says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / "config.json")

    @cached_property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """Where each tensor lies, by its name; the headers are read when they are first asked for."""
        return {t.name: t for path in weight_files(self.folder) for t in _read_header(path)}

    @property
    def elements(self) -> int:
        """Number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def field(self, name: str, kind: type, default: object = None) -> Any:  # noqa: ANN401 - a JSON value of `kind`
        """Return a field of ``config.json``, checked for its type; an absent or null one gives ``default``."""
        value = self.config.get(name)
        if value is None:
            value = default
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ModelError(
                f"{self.folder / 'config.json'}: {name} = {value!r}; expected {kind.__name__}",
                code="model-config-invalid",
            )
        return value

    def main_dtype(self) -> str:
        """Return the safetensors dtype that most matrices are stored in."""
        counts = Counter(t.dtype for t in self.tensors.values() if len(t.shape) > 1)
        return counts.most_common(1)[0][0] if counts else "F32"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: the file is missing or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: {path.name} is missing", code="model-damaged") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})", code="model-damaged") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(value).__name__}", code="model-damaged")
    return value


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that make the model: those that an index names, else one, else all there are.

    Raises:
        ModelError: there is none, or one that the index names is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(
                f"{index}: weight_map = {weight_map!r}; expected tensor names and files", code="model-damaged"
            )
        files = [folder / name for name in sorted(set(weight_map.values()))]
    else:
        single = folder / "model.safetensors"
        files = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder}: no *.safetensors file; save the model as safetensors",
            code="container-unsupported",
        )
    for path in files:
        if not path.is_file():
            raise ModelError(f"{index}: names {path.name}, which is missing", code="model-damaged")
    return files


def _read_header(path: Path) -> list[StoredTensor]:
    """Read the table at the start of a safetensors file: a little-endian u64 length, then JSON."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(
                f"{path}: cut off: {size} bytes, its header alone says {length} bytes", code="model-damaged"
            )
        try:
            header = json.loads(handle.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"{path}: not a safetensors file (header is not JSON: {error})", code="model-damaged"
            ) from error
    header.pop("__metadata__", None)
    return [_stored(path, name, entry, 8 + length, size) for name, entry in header.items()]


def _stored(path: Path, name: str, entry: dict[str, Any], base: int, size: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: tensor {name!r} has a malformed header entry {entry!r}", code="model-damaged"
        ) from error
    if dtype not in ITEM_SIZES:
        raise ModelError(
            f"{path}: tensor {name!r} has dtype {dtype}; known: {', '.join(ITEM_SIZES)}", code="model-unsupported"
        )
    count = ITEM_SIZES[dtype]
    for extent in shape:
        count *= extent
    if end - begin != count:
        raise ModelError(
            f"{path}: tensor {name!r} of shape {shape} needs {count} bytes, header says {end - begin}",
            code="model-damaged",
        )
    if base + end > size:
        raise ModelError(
            f"{path}: cut off: {size} bytes, tensor {name!r} ends at byte {base + end}", code="model-damaged"
        )
    return StoredTensor(name, path, dtype, shape, base + begin, count)
