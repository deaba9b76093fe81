"""A GGUF model as a Hugging Face folder, for engines that read no GGUF: unpacked weights, configuration, tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache import ModelCache
from ...contract.model import ResolvedModel
from ...errors import ModelError
from ...foreign_text import path_part
from ..checkpoint import Checkpoint
from ..sources.safetensors_file import Entry, write_safetensors
from .architecture import Shape, part_rows
from .configuration import ROPE_FACTORS, read_configuration
from .layers import EXPERT, Target
from .metadata import GgufTensor, Header, read_metadata
from .parts import find_gguf, parts_of, read_parts
from .pretokenizer import assumed_kind
from .tokenizer_files import write_tokenizer
from .weights import float_chunks, plain_dtype, raw_rows

if TYPE_CHECKING:
    import numpy as np

FOLDER_VERSION = "1"
"""Part of the cache key; raised whenever the folder's content changes."""


def as_folder(model: ResolvedModel, cache: ModelCache) -> ResolvedModel:
    """Return a GGUF model as a Hugging Face folder in the cache, made once for equal files.

    Raises:
        ModelError: its architecture, its tokenizer or a feature has no place in such a folder; names it.
    """
    file = find_gguf(model.path)
    if file is None:
        raise ModelError(f"{model.path} has no .gguf file", code="container-unsupported")
    _require_gguf(file)
    header = read_parts(file)
    hashes = (cache.file_hash(part) for part in parts_of(file))
    size = folder_bytes(header)
    folder = cache.entry(
        f"folder-{path_part(Path(model.name).name)}",
        *("folder", FOLDER_VERSION, *hashes, version("gguf")),
        build=lambda folder: write_folder(file, header, folder),
        peak_bytes=size,
        announcement=f"converting {model.name} to a Hugging Face folder in the cache, {size / 1e9:.2f} GB, once",
    )
    return _of(model, header, folder)


def outline(model: ResolvedModel, folder: Path) -> ResolvedModel:
    """Return a GGUF model as the folder that would be made of it, but for its weights, in an empty folder.

    Raises:
        ModelError: as ``as_folder``.
    """
    file = find_gguf(model.path)
    assert file is not None
    header = read_parts(file)
    write_folder(file, header, folder, is_outline=True)
    return _of(model, header, folder)


def _of(model: ResolvedModel, header: Header, folder: Path) -> ResolvedModel:
    return replace(
        model,
        path=folder,
        architecture=Checkpoint(folder).config["architectures"][0],
        container="safetensors",
        notes=(*model.notes, f"weights from {model.stored_format}", *assumed_kind(header.metadata)),
    )


def folder_bytes(header: Header) -> int:
    """Return the bytes of the weights in a folder, unpacked without loss."""
    return sum((4 if plain_dtype(tensor) == "F32" else 2) * tensor.elements for tensor in header.tensors)


def write_folder(file: Path, header: Header, folder: Path, *, is_outline: bool = False) -> None:
    """Write the model into an empty folder, with holes in place of its weights where that is enough.

    Raises:
        ModelError: as ``as_folder``; or a tensor is missing or left over.
    """
    write_description(file, header, folder)
    shape = Shape.of_any(Checkpoint(folder))
    write_safetensors(
        folder / "model.safetensors", list(_entries(file, header, shape.targets())), is_outline=is_outline
    )


def write_description(file: Path, header: Header, folder: Path) -> None:
    """Write the model's configuration and tokenizer, all but its weights, into an empty folder."""
    metadata = read_metadata(file)
    config = {**read_configuration(file, header, metadata), "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_tokenizer(metadata, str(file), folder)


def _require_gguf(file: Path) -> None:
    if find_spec("gguf") is None:
        raise ModelError(
            f"{file}: unpacking its weights needs the package gguf: pip install gguf", code="package-missing"
        )


def _entries(file: Path, header: Header, targets: Mapping[str, Target]) -> Iterator[Entry]:
    """Yield the tensors of the folder, each from its place in the file."""
    rest = {tensor.name: tensor for tensor in header.tensors}
    rest.pop(ROPE_FACTORS, None)
    rest.pop("rope_freqs", None)
    for name, target in targets.items():
        tensor = rest.pop(target.name, None)
        if tensor is None and target.optional:
            continue
        if tensor is None:
            raise ModelError(f"{file}: tensor {target.name!r} is missing", code="weights-mismatch")
        expected = (target.experts, *target.shape) if target.experts else target.shape
        if tensor.shape != expected:
            raise ModelError(
                f"{file}: tensor {target.name!r} has shape {tensor.shape}; expected {expected}", code="weights-mismatch"
            )
        yield from _of_tensor(name, tensor, target)
    if rest:
        raise ModelError(
            f"{file}: tensor {min(rest)!r} has no place in a Hugging Face folder of its architecture",
            code="weights-mismatch",
        )


def _of_tensor(name: str, tensor: GgufTensor, target: Target) -> Iterator[Entry]:
    if not target.experts:
        yield Entry(name, plain_dtype(tensor), target.shape, _Content(tensor, target))
        return
    each = tensor.nbytes // target.experts
    for expert in range(target.experts):
        one = replace(tensor, shape=target.shape, start=tensor.start + expert * each)
        yield Entry(name.replace(EXPERT, str(expert)), plain_dtype(tensor), target.shape, _Content(one, target))


@dataclass(frozen=True, slots=True)
class _Content:
    """The bytes of one tensor, made when they are written."""

    tensor: GgufTensor
    target: Target

    def __call__(self) -> Iterator[np.ndarray]:
        import numpy as np

        target, tensor = self.target, self.tensor
        if plain_dtype(tensor) != "F32":  # two bytes a weight
            rows = raw_rows(tensor).view("<u2")
            yield part_rows(rows, target.rotary_heads) if target.rotary_heads else rows
        elif target.rotary_heads:
            whole = np.concatenate(list(float_chunks(tensor)))
            bias = whole.reshape(-1) if len(tensor.shape) == 1 else whole
            yield part_rows(bias, target.rotary_heads)
        else:
            for chunk in float_chunks(tensor):
                yield chunk - np.float32(target.shift) if target.shift else chunk
