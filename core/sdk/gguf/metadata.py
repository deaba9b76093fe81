"""The head of a GGUF file, read without an engine and in milliseconds: its key-value pairs and its table of tensors.

Written from the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian. The file
is mapped, so that no weight is read.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...errors import ModelError
from .tensor_types import TENSOR_TYPES, TensorType

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_DEEPEST = 4  # arrays of arrays are allowed, and rare
_DIMENSIONS = 4  # GGML_MAX_DIMS
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies.

    Attributes:
        name: the file's, such as ``"blk.0.attn_q.weight"``.
        path: the file.
        shape: rows first, the other way round than in the file.
        kind: number format.
        start: its first byte in the file.
    """

    name: str
    path: Path
    shape: tuple[int, ...]
    kind: TensorType
    start: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.kind.nbytes(self.elements)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the weights.

    Attributes:
        metadata: the key-value pairs by name, lists of texts left out: they hold the vocabulary, and take the time.
        tensors: in the order of the file.
    """

    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]


def read_header(path: Path) -> Header:
    """Return the key-value pairs of one GGUF file, without its lists of texts, and its table of tensors.

    Raises:
        ModelError: the file cannot be read, is cut off, is of another kind or version, or a tensor's format is unknown.
    """
    return _read(path, skips_texts=True)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the key-value pairs of a GGUF file by their names; arrays are lists.

    Raises:
        ModelError: the file cannot be read, is cut off, or is of another kind or version.
    """
    return dict(_read(path, skips_texts=False).metadata)


def architecture_in(metadata: Mapping[str, Any]) -> str | None:
    """Return ``general.architecture``; None where there is none that is a name."""
    value = metadata.get("general.architecture")
    return value if isinstance(value, str) and value else None


def architecture_words(metadata: Mapping[str, Any]) -> str:
    """Return ``general.architecture`` with its value, for messages."""
    value = metadata.get("general.architecture")
    return "general.architecture is missing, which" if value is None else f"general.architecture = {str(value)[:80]!r}"


def _read(path: Path, *, skips_texts: bool) -> Header:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            reader = _Reader(path, content, skips_texts=skips_texts)
            metadata, count = reader.pairs()
            return Header(metadata, reader.tensors(count, _alignment(path, metadata)) if skips_texts else ())
    except (OSError, ValueError, OverflowError, struct.error, IndexError) as error:
        raise ModelError(f"{path}: cannot be read as GGUF, or is cut off ({error})", code="model-damaged") from error


def _alignment(path: Path, metadata: Mapping[str, Any]) -> int:
    value = metadata.get("general.alignment", 32)
    if type(value) is not int or value < 1 or value & (value - 1):
        raise ModelError(
            f"{path}: general.alignment = {repr(value)[:80]}; expected a power of two", code="model-config-invalid"
        )
    return value


class _Reader:
    """Walks over the bytes of a file from its start."""

    def __init__(self, path: Path, content: mmap.mmap, *, skips_texts: bool) -> None:
        self._path, self._content, self._at, self._skips_texts = path, content, 0, skips_texts

    def pairs(self) -> tuple[dict[str, Any], int]:
        """Return the key-value pairs and the number of tensors."""
        if self._content[:4] != b"GGUF":
            raise ModelError(f"{self._path}: not a GGUF file", code="model-damaged")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            raise ModelError(
                f"{self._path}: GGUF version {version} is not supported; known: 2 and 3, little-endian",
                code="container-unsupported",
            )
        tensors = self._number("Q")
        found = {}
        for _ in range(self._number("Q")):
            name = self._string()
            value = self._value(self._number("I"), 0)
            if value is not None:
                found[name] = value
        return found, tensors

    def tensors(self, count: int, alignment: int) -> tuple[GgufTensor, ...]:
        """Read the table that follows the pairs; offsets in it count from the first aligned byte behind it."""
        rows = []
        for _ in range(count):
            name = self._string()
            dimensions = [self._number("Q") for _ in range(self._dimensions(name))]
            rows.append((name, tuple(reversed(dimensions)), self._number("I"), self._number("Q")))
        base = -(-self._at // alignment) * alignment
        found = tuple(self._tensor(name, shape, kind, base + offset) for name, shape, kind, offset in rows)
        self._refuse_overlaps(found)
        return found

    def _refuse_overlaps(self, tensors: tuple[GgufTensor, ...]) -> None:
        for before, behind in pairwise(sorted(tensors, key=lambda tensor: tensor.start)):
            if before.start + before.nbytes > behind.start:
                raise ModelError(
                    f"{self._path}: tensors {before.name!r} and {behind.name!r} overlap", code="model-damaged"
                )

    def _tensor(self, name: str, shape: tuple[int, ...], number: int, start: int) -> GgufTensor:
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            raise ModelError(f"{self._path}: tensor {name!r} has the unknown type {number}", code="model-unsupported")
        if 0 in shape:
            raise ModelError(f"{self._path}: tensor {name!r} of shape {shape} has no weights", code="model-damaged")
        if shape[-1] % kind.block:
            raise ModelError(
                f"{self._path}: tensor {name!r}: row length {shape[-1]} is not a multiple of the block of {kind.name}",
                code="model-damaged",
            )
        found = GgufTensor(name, self._path, shape, kind, start)
        if start + found.nbytes > len(self._content):
            size = len(self._content)
            raise ModelError(
                f"{self._path}: is cut off: {size} bytes, tensor {name!r} ends at byte {start + found.nbytes}",
                code="model-damaged",
            )
        return found

    def _dimensions(self, name: str) -> int:
        count: int = self._number("I")
        if not 1 <= count <= _DIMENSIONS:
            raise ModelError(
                f"{self._path}: tensor {name!r} has {count} dimensions; expected 1 to {_DIMENSIONS}",
                code="model-damaged",
            )
        return count

    def _number(self, form: str) -> Any:  # noqa: ANN401 - int, float or bool
        (value,) = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _string(self) -> str:
        length = self._number("Q")
        return self._bytes(length).decode("utf-8", errors="replace")

    def _bytes(self, length: int) -> bytes:
        self._check_room(length)
        self._at += length
        return self._content[self._at - length : self._at]

    def _check_room(self, length: int) -> None:
        if length > len(self._content) - self._at:
            raise ModelError(
                f"{self._path}: is cut off: byte {self._at} announces {length} more bytes", code="model-damaged"
            )

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - a GGUF value
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY and depth < _DEEPEST:
            kind, count = self._number("I"), self._number("Q")
            if kind in _NUMBERS:
                form = f"<{count}{_NUMBERS[kind]}"
                self._check_room(count * struct.calcsize(f"<{_NUMBERS[kind]}"))
                return list(struct.unpack(form, self._bytes(struct.calcsize(form))))
            self._check_room(count)  # each takes a byte or more
            if kind == _STRING:
                return self._texts(count)
            return [self._value(kind, depth + 1) for _ in range(count)]
        raise ModelError(f"{self._path}: byte {self._at}: value type {kind} is unknown", code="model-damaged")

    def _texts(self, count: int) -> list[str] | None:
        """Return a list of texts, None where they are to be left out; there may be half a million of them."""
        content, at, length_at = self._content, self._at, _LENGTH.unpack_from
        found: list[str] | None = None
        if self._skips_texts:
            for _ in range(count):
                at += 8 + length_at(content, at)[0]
        else:
            found = []
            for _ in range(count):
                start = at + 8
                at = start + length_at(content, at)[0]
                found.append(content[start:at].decode("utf-8", errors="replace"))
        self._check_room(at - self._at)
        self._at = at
        return found
