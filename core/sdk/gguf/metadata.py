"""The key-value pairs at the head of a GGUF file, read without an engine: its tokenizer, its template, its sizes.

Written from the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from ...errors import ModelError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_DEEPEST = 4  # arrays of arrays are allowed, and rare


def find_gguf(path: Path) -> Path | None:
    """Return the GGUF file that a model's path names: itself, or the only one of a folder without safetensors.

    Raises:
        ModelError: a file of another kind, nothing at all, or several files to choose from.
    """
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path}: neither a folder nor a .gguf file")
        return path
    if not path.is_dir():
        raise ModelError(f"{path}: does not exist")
    files = sorted(path.glob("*.gguf"))
    if not files or any(path.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise ModelError(f"{path}: holds {len(files)} .gguf files; name one: {', '.join(f.name for f in files)}")
    return files[0]


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the key-value pairs of a GGUF file by their names; arrays are lists.

    Raises:
        ModelError: the file cannot be read, is cut off, or is of another kind or version.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(path, content).pairs()
    except (OSError, ValueError, struct.error, IndexError) as error:
        raise ModelError(f"{path}: cannot be read as GGUF, or is cut off ({error})") from error


class _Reader:
    """Walks over the bytes of a file from its start."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path, self._content, self._at = path, content, 0

    def pairs(self) -> dict[str, Any]:
        if self._content[:4] != b"GGUF":
            raise ModelError(f"{self._path}: is no GGUF file")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            raise ModelError(f"{self._path}: GGUF version {version} is not known; known: 2, 3, little-endian")
        self._number("Q")  # tensors
        found = {}
        for _ in range(self._number("Q")):
            name = self._string()
            found[name] = self._value(self._number("I"), 0)
        return found

    def _number(self, form: str) -> Any:  # noqa: ANN401 - int, float or bool
        (value,) = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _string(self) -> str:
        length = self._number("Q")
        return self._bytes(length).decode("utf-8", errors="replace")

    def _bytes(self, length: int) -> bytes:
        if length > len(self._content) - self._at:
            raise ModelError(f"{self._path}: is cut off: byte {self._at} announces {length} more bytes")
        self._at += length
        return self._content[self._at - length : self._at]

    def _value(self, kind: int, depth: int) -> Any:  # noqa: ANN401 - a GGUF value
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY and depth < _DEEPEST:
            kind, count = self._number("I"), self._number("Q")
            if kind in _NUMBERS:
                form = f"<{count}{_NUMBERS[kind]}"
                return list(struct.unpack(form, self._bytes(count * struct.calcsize(f"<{_NUMBERS[kind]}"))))
            if count > len(self._content) - self._at:  # each takes a byte or more
                raise ModelError(f"{self._path}: is cut off: byte {self._at} announces {count} values")
            return [self._value(kind, depth + 1) for _ in range(count)]
        raise ModelError(f"{self._path}: byte {self._at}: value type {kind} is not one of GGUF")
