"""Reading a Hugging Face checkpoint folder tensor by tensor."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import ModelError

if TYPE_CHECKING:
    import numpy as np

ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a weight that is read here, by what safetensors calls its format."""

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of a number of every format that safetensors has."""

MOST = 2**24
"""More of anything no model has; a damaged field must not become a loop without end."""

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The files in which the weights of a model are, or which names those, wherever it was published."""

_FOREIGN = {"ONNX": "*.onnx", "TensorFlow": "*.h5", "Flax": "*.msgpack", "NeMo": "*.nemo", "OpenVINO": "openvino_*.bin"}
_LARGEST = 1e300


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


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number that a computer's arithmetic has: no truth value, infinity or nan."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


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
        found = read_tensors(self.folder)
        foreign = next((tensor for tensor in found if tensor.dtype not in ITEM_SIZES), None)
        if foreign is not None:
            raise ModelError(
                f"{foreign.path}: tensor {foreign.name!r} has dtype {foreign.dtype}; known: {', '.join(ITEM_SIZES)}",
                code="model-unsupported",
            )
        return {tensor.name: tensor for tensor in found}

    @property
    def elements(self) -> int:
        """Number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def field(self, name: str, kind: type, default: object = None) -> Any:  # noqa: ANN401 - a JSON value of `kind`
        """Return a field of ``config.json``, checked for its type; an absent or null one gives ``default``."""
        value = self.config.get(name)
        if value is None:
            value = default
        if kind is float and is_number(value):
            return float(value)
        if kind is float or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._wrong(name, value, kind.__name__)
        return value

    def count(self, name: str, default: int | None = None, most: int = MOST) -> int:
        """Return a field of ``config.json`` that says how many there are of something, 1 or more; see ``field``."""
        value: int = self.field(name, int, default)
        if not 1 <= value <= most:
            raise self._wrong(name, value, f"an integer from 1 to {most}")
        return value

    def _wrong(self, name: str, value: object, expected: str) -> ModelError:
        text = repr(value)
        return ModelError(
            f"{self.folder / 'config.json'}: {name} = {text[:80]}; expected {expected}", code="model-config-invalid"
        )

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


def architecture_of(config: Mapping[str, Any], path: Path) -> str | None:
    """Return ``architectures[0]`` of a configuration; None where it names none.

    Raises:
        ModelError: it is no list of names.
    """
    listed = config.get("architectures") or [None]
    first = listed[0] if isinstance(listed, list) else listed
    if not isinstance(listed, list) or not isinstance(first, str | None):
        raise ModelError(
            f"{path}: architectures = {repr(listed)[:80]}; expected a list of names", code="model-config-invalid"
        )
    return first or None


def indexed_files(index: Path) -> list[Path]:
    """Return the files that an index names.

    Raises:
        ModelError: it is damaged, or one of them is missing; names it.
    """
    names = _indexed_names(index)
    for name in names:
        if not isfile(index.parent / name):
            raise ModelError(f"{index}: names {name}, which is missing", code="model-damaged")
    return [index.parent / name for name in names]


def _indexed_names(index: Path) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(
            f"{index}: weight_map = {repr(weight_map)[:80]}; expected tensor names and files", code="model-damaged"
        )
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not name:
            raise ModelError(
                f"{index}: weight_map: {tensor!r} = {repr(name)[:80]}; expected the name of a file",
                code="model-damaged",
            )
    return sorted(set(weight_map.values()))


def has_weight_files(folder: Path) -> bool:
    """Whether a folder has safetensors, or an index that names some."""
    return (folder / INDEX).exists() or any(folder.glob("*.safetensors"))


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that make the model: those that an index names, else one, else all there are.

    Raises:
        ModelError: there is none, or one that the index names is missing.
    """
    index, single = folder / INDEX, folder / SINGLE
    if index.exists():
        return indexed_files(index)
    files = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no *.safetensors file; {_hint(folder)}", code="container-unsupported")
    return files


def foreign_weights(folder: Path) -> str | None:
    """Return what form a folder's weights have that nothing here opens, and one of their files; None without any."""
    for kind, pattern in _FOREIGN.items():
        if found := next(iter(sorted((*folder.glob(pattern), *folder.glob(f"*/{pattern}")))), None):
            return f"{kind} ({found.relative_to(folder).as_posix()})"
    return None


def _hint(folder: Path) -> str:
    if below := sorted({path.parent.name for path in folder.glob("*/*.safetensors")}):
        return f"those in {below[0]}/ are another model: name that folder"
    foreign = foreign_weights(folder)
    form = f"its weights are {foreign}, which no engine opens here; " if foreign else ""
    return f"{form}save the model as safetensors, or give a .gguf file of it"


def check_headers(folder: Path) -> None:
    """Refuse weights that ``Checkpoint`` does not read; a description without any weights passes.

    Raises:
        ModelError: a file is missing, cut off or damaged, or a tensor is of another number format; names it.
    """
    if has_weight_files(folder):
        _ = Checkpoint(folder).tensors


def read_tensors(folder: Path) -> list[StoredTensor]:
    """Read where the tensors of a folder lie, of whatever number format.

    Raises:
        ModelError: a file is missing, cut off or damaged; names file and tensor.
    """
    found = [tensor for path in weight_files(folder) for tensor in read_header(path)]
    if not found:
        raise ModelError(f"{folder}: its safetensors files hold no tensor", code="weights-mismatch")
    return found


def read_header(path: Path) -> tuple[StoredTensor, ...]:
    """Read the table at the start of a safetensors file: a little-endian u64 length, then JSON."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > size - 8:
                raise ModelError(
                    f"{path}: cut off: {size} bytes, its header alone says {length} bytes", code="model-damaged"
                )
            return _parsed(path, handle.read(length), size)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", code="file-unreadable") from error


@lru_cache(maxsize=256)  # every cell of a plan asks, for every shard
def _parsed(path: Path, text: bytes, size: int) -> tuple[StoredTensor, ...]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: not a safetensors file (header is not JSON: {error})", code="model-damaged"
        ) from error
    if not isinstance(header, dict):
        raise ModelError(
            f"{path}: not a safetensors file (header is a JSON {type(header).__name__})", code="model-damaged"
        )
    header.pop("__metadata__", None)
    base = 8 + len(text)
    found = tuple(_stored(path, name, entry, base, size) for name, entry in header.items())
    _check_places(path, found, base, size)
    return found


def _stored(path: Path, name: str, entry: object, base: int, size: int) -> StoredTensor:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(field) for field in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ModelError(
            f"{path}: tensor {name!r} has a malformed header entry {str(entry)[:200]}", code="model-damaged"
        )
    if dtype not in _BITS:
        raise ModelError(
            f"{path}: tensor {name!r} has dtype {dtype}; known: {', '.join(_BITS)}", code="model-unsupported"
        )
    begin, end = offsets
    count = -(-_BITS[dtype] * math.prod(shape) // 8)
    if end - begin != count:
        raise ModelError(
            f"{path}: tensor {name!r} of shape {tuple(shape)} needs {count} bytes, header says {end - begin}",
            code="model-damaged",
        )
    if base + end > size:
        raise ModelError(
            f"{path}: cut off: {size} bytes, tensor {name!r} ends at byte {base + end}", code="model-damaged"
        )
    return StoredTensor(name, path, dtype, tuple(shape), base + begin, count)


def _are_counts(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_places(path: Path, tensors: Sequence[StoredTensor], start: int, size: int) -> None:
    """Refuse tensors that overlap or leave gaps, as safetensors' own reader does."""
    at = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.nbytes)):
        if tensor.start != at:
            raise ModelError(
                f"{path}: tensor {tensor.name!r} begins at byte {tensor.start}, what is before it ends at byte {at}",
                code="model-damaged",
            )
        at += tensor.nbytes
    if at != size:
        raise ModelError(f"{path}: has {size} bytes, its last tensor ends at byte {at}", code="model-damaged")
