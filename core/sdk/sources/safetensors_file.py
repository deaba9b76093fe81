"""Writing a safetensors file one tensor at a time, so that a model need not fit into memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import ITEM_SIZES

if TYPE_CHECKING:
    import numpy as np

_ITEM_SIZES = {**ITEM_SIZES, "BOOL": 1, "U8": 1, "I32": 4, "I64": 8}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to write.

    Attributes:
        name: of the tensor.
        dtype: as safetensors names it.
        shape: of the tensor.
        content: gives its values in order, in arrays of any shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: Callable[[], Iterable[np.ndarray]]


def write_safetensors(file: Path, entries: Sequence[Entry], *, is_outline: bool = False) -> None:
    """Write tensors in the order given; the header stands before them, so that shapes are needed first.

    Args:
        file: to write.
        entries: the tensors.
        is_outline: leave a hole in place of the values, which takes no disk: for what reads headers only.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for entry in entries:
        end = at + _ITEM_SIZES[entry.dtype] * math.prod(entry.shape)
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the first tensor is aligned
    with file.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        if is_outline:
            handle.truncate(8 + len(text) + at)
            return
        for entry in entries:
            for part in entry.content():
                handle.write(part.tobytes())
    assert file.stat().st_size == 8 + len(text) + at
