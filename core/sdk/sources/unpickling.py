"""Rewrites the pickled checkpoint of a folder as one safetensors file: ``python -m ...unpickling FOLDER FILE``.

A process of its own, which reads tensors and nothing else; what else a pickle holds ends it before it is run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .pickled_weights import checkpoint_files
from .safetensors_file import Entry, write_safetensors

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_DTYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
_DTYPES |= {"torch.bool": "BOOL", "torch.uint8": "U8", "torch.int32": "I32", "torch.int64": "I64"}  # of older masks


def main(folder: Path, file: Path) -> None:
    """Rewrite all pickled files of a folder as one."""
    entries: dict[str, Entry] = {}
    for pickled in checkpoint_files(folder):
        entries |= {entry.name: entry for entry in _entries(pickled)}
    write_safetensors(file, list(entries.values()))


def _entries(pickled: Path) -> Iterator[Entry]:
    import torch

    try:
        content = torch.load(pickled, map_location="cpu", weights_only=True, mmap=_is_archive(pickled))
    except Exception as error:
        raise SystemExit(
            f"{pickled.name} is pickled and holds more than tensors, or is damaged: {_line(error)}"
        ) from error
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            raise SystemExit(f"{pickled.name} is pickled: its entry {name!r} is not a tensor")
        if str(tensor.dtype) not in _DTYPES:
            raise SystemExit(f"{pickled.name} is pickled: its tensor {name!r} has the number format {tensor.dtype}")
        yield Entry(name, _DTYPES[str(tensor.dtype)], tuple(tensor.shape), _Content(tensor))


class _Content:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __call__(self) -> Iterator[np.ndarray]:
        import torch

        plain = self._tensor.detach().contiguous()
        yield (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy()


def _is_archive(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
