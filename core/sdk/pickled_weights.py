"""Pickled weights: reading one runs whatever code its author put in it, so no backend opens them."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..errors import ModelError

PICKLES = ("*.bin",)
"""What Hugging Face checkpoints call them; other formats have files of that name, too."""

_NAMES = (*PICKLES, "*.pt", "*.pth", "*.ckpt")
_READABLE = ("*.safetensors", "*.gguf", "tensor-cache.json")
_BEGINNINGS = (b"PK\x03\x04", b"\x80")  # torch.save: a zip archive with a pickle in it, formerly the pickle alone
_CONVERSION = (
    "import glob, torch; from safetensors.torch import save_file; "
    "save_file({name: tensor.clone().contiguous() for file in sorted(glob.glob({pattern!r})) "
    "for name, tensor in torch.load(file, map_location='cpu', weights_only=True).items()}, "
    "'model.safetensors', {'format': 'pt'})"
)


def refuse_pickles(name: str, path: Path) -> None:
    """Refuse a model whose only weights are pickled.

    Args:
        name: of the model, as the user gave it.
        path: its folder or file.

    Raises:
        ModelError: says which file and the command that converts it; that loads tensors alone and runs no code.
    """
    folder = path if path.is_dir() else path.parent
    names = [path] if path.is_file() else [file for pattern in _NAMES for file in sorted(path.glob(pattern))]
    pickled = next((file for file in names if _is_pickled(file)), None)
    if pickled is None or (path.is_dir() and any(any(path.glob(pattern)) for pattern in _READABLE)):
        return
    program = _CONVERSION.replace("{pattern!r}", repr(f"*{pickled.suffix}"))
    raise ModelError(
        f"model {name!r}: {pickled.name} is pickled, and reading a pickle runs code; convert it to safetensors:\n"
        f"cd {shlex.quote(str(folder))} && python -c {shlex.quote(program)}"
    )


def _is_pickled(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as handle:
        return handle.read(4).startswith(_BEGINNINGS)
