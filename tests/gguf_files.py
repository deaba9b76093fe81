"""GGUF files for tests, byte by byte: with fields of the wrong type, without fields, and with tables that are wrong."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from decodebench.core.sdk.gguf.metadata import read_metadata
from decodebench.core.sdk.gguf.parts import read_parts
from decodebench.core.sdk.gguf.tensor_types import TENSOR_TYPES

SPLIT = Path(__file__).parent / "data" / "gguf_split"
NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}
ALIGNMENT = 32


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    """Encode a value behind its type."""
    if isinstance(value, bytes):  # encoded already
        return value
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Iq", 11, value) if value < 0 or value >= 2**32 else struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if value and all(type(each) is int and abs(each) < 2**31 for each in value):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    kind = _value(value[0])[:4] if value else struct.pack("<I", 4)
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(_value(each)[4:] for each in value)


def write(file: Path, fields: Mapping[str, Any], tensors: Sequence[tuple], data_bytes: int) -> Path:
    """Write a file whose weights are a hole.

    Args:
        file: to write.
        fields: the key-value pairs; bytes are a value with its type, encoded.
        tensors: name, dimensions as in the file, type, offset of each.
        data_bytes: room for the weights.
    """
    pairs = b"".join(_text(name) + _value(value) for name, value in fields.items())
    table = b"".join(
        _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        for name, shape, kind, offset in tensors
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + pairs + table
    with file.open("wb") as handle:
        handle.write(head + b"\0" * (-len(head) % ALIGNMENT))
        handle.truncate(handle.tell() + data_bytes)
    return file


@cache
def parts() -> tuple[dict[str, Any], list[tuple]]:
    """Return the fields and the tensors of a small Llama in float32."""
    first = sorted(SPLIT.iterdir())[0]
    fields = {name: value for name, value in read_metadata(first).items() if not name.startswith("split.")}
    tensors = [tensor for tensor in read_parts(first).tensors if tensor.name != "rope_freqs.weight"]
    return fields, [(tensor.name, tensor.shape[::-1], tensor.elements) for tensor in tensors]


def small_llama(file: Path, kind: str = "f32", **changes: Any) -> Path:
    """Write a Llama of two layers.

    Args:
        file: to write.
        kind: tensor type of its matrices.
        changes: fields that are not as usual, ``__`` for a dot; None: left out.
    """
    fields, tensors = parts()
    named = {name.replace("__", "."): value for name, value in changes.items()}
    content = {name: value for name, value in (fields | named).items() if value is not None}
    rows, at = [], 0
    for name, shape, elements in tensors:
        number = NUMBERS[kind] if len(shape) > 1 else NUMBERS["f32"]
        rows.append((name, shape, number, at))
        at += -(-TENSOR_TYPES[number].nbytes(elements) // ALIGNMENT) * ALIGNMENT
    return write(file, content, rows, at)
