"""Pickled weights: reading one may run whatever code its author put in it, so no backend opens them.

A checkpoint of Hugging Face's older form is rewritten as safetensors once, in a process of its own and by torch's
reader of tensors alone (``weights_only``), which refuses everything else that a pickle may hold.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ...cache import ModelCache
from ...contract.model import ResolvedModel
from ...errors import ModelError
from ..checkpoint import indexed_files

PICKLES = ("*.bin",)
"""What Hugging Face checkpoints call them; other formats have files of that name, too."""

CHECKPOINT = "pytorch_model*.bin"
_SINGLE, _INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_PART = re.compile(r"-of-(\d{5})\.bin$")
_NAMES = (*PICKLES, "*.pt", "*.pth", "*.ckpt")
_READABLE = ("*.safetensors", "*.gguf", "tensor-cache.json")
_BEGINNINGS = (b"PK\x03\x04", b"\x80")  # torch.save: a zip archive with a pickle in it, formerly the pickle alone
_DESCRIPTIONS = ("*.json", "*.jinja", "*.model", "*.txt")


def is_pickled(name: str, path: Path) -> bool:
    """Whether the only weights of a model are pickled.

    Args:
        name: of the model, as the user gave it.
        path: its folder or file.

    Raises:
        ModelError: they are, and in another form than that which is converted.
    """
    pickled = _pickled(path)
    if pickled is None:
        return False
    if path.is_file() or not pickled.match(CHECKPOINT):
        raise ModelError(
            f"model {name!r}: {pickled.name} is pickled, and reading a pickle runs code; only {CHECKPOINT} in a "
            "model's folder is converted: save the model as safetensors where it was made",
            code="container-unsupported",
        )
    checkpoint_files(path)
    return True


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the pickled files that make the model: those that an index names, else one, else all numbered parts.

    Raises:
        ModelError: the index is damaged, or a file is missing; names it.
    """
    if (folder / _INDEX).exists():
        return indexed_files(folder / _INDEX)
    if (single := folder / _SINGLE).is_file():
        return [single]
    files = sorted(folder.glob(CHECKPOINT))
    counts = {int(found[1]) for file in files if (found := _PART.search(file.name))}
    for count in counts:
        for number in range(1, count + 1):
            part = folder / f"pytorch_model-{number:05d}-of-{count:05d}.bin"
            if not part.is_file():
                raise ModelError(
                    f"{folder}: {part.name} is missing, one of {count} parts of a checkpoint", code="model-damaged"
                )
    return files


def unpickled(model: ResolvedModel, cache: ModelCache) -> ResolvedModel:
    """Return a model with pickled weights as a folder with safetensors in the cache.

    Raises:
        ModelError: the weights hold more than tensors, or torch is not installed.
    """
    name, path = model.name, model.path
    if find_spec("torch") is None:
        raise ModelError(
            f"model {name!r}: its weights are pickled, and torch, which converts it to safetensors, is not "
            'installed: pip install "decodebench[transformers]"',
            code="package-missing",
        )
    size = sum(file.stat().st_size for file in checkpoint_files(path))
    folder = cache.entry(
        f"safetensors-{path.name}",
        *("unpickled", "1", model.content_hash),
        build=lambda folder: _rewrite(name, path, folder),
        peak_bytes=size,
        announcement=f"rewriting {name} as safetensors in the cache, {size / 1e9:.2f} GB, once",
    )
    return replace(model, path=folder, container="safetensors")


def _pickled(path: Path) -> Path | None:
    """Return a pickled file of a model that has no other weights; None for any other model."""
    names = [path] if path.is_file() else [file for pattern in _NAMES for file in sorted(path.glob(pattern))]
    found = next((file for file in names if _is_pickled(file)), None)
    return None if path.is_dir() and any(any(path.glob(pattern)) for pattern in _READABLE) else found


def _is_pickled(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as handle:
        return handle.read(4).startswith(_BEGINNINGS)


def _rewrite(name: str, source: Path, folder: Path) -> None:
    for pattern in _DESCRIPTIONS:
        for file in source.glob(pattern):
            if not file.name.endswith(".index.json"):
                shutil.copyfile(file, folder / file.name)
    module = "decodebench.core.sdk.sources.unpickling"
    command = [sys.executable, "-m", module, str(source), str(folder / "model.safetensors")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"the process ended with status {ended.returncode}"
        raise ModelError(
            f"model {name!r}: its pickled weights cannot be converted to safetensors: {reason[:300]}",
            code="conversion-failed",
        )
