"""The GGUF files that a model consists of: one, or the parts of a large one, which are named by their number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import ModelError
from .metadata import Header, read_header

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def find_gguf(path: Path) -> Path | None:
    """Return the GGUF file that a model's path names, of a split one its first part; None for a folder of another kind.

    Args:
        path: a file, any part of a split one, or a folder that holds one model as GGUF and no safetensors.

    Raises:
        ModelError: a file of another kind, nothing at all, a part is missing, or several models to choose from.
    """
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path}: neither a folder nor a .gguf file: give the folder", code="model-damaged")
        return parts_of(path)[0]
    if not path.is_dir():
        raise ModelError(f"{path}: does not exist", code="model-damaged")
    files = sorted(path.glob("*.gguf"))
    if not files or any(path.glob("*.safetensors")):
        return None
    models = {_model(file): file for file in reversed(files)}
    if len(models) > 1:
        names = ", ".join(sorted(file.name for file in models.values()))
        raise ModelError(f"{path}: holds {len(models)} .gguf files; name one: {names}", code="model-damaged")
    return parts_of(files[0])[0]


def _model(file: Path) -> str:
    found = _PART.match(file.name)
    return f"{found['stem']}-of-{found['count']}" if found else file.name


def parts_of(file: Path) -> tuple[Path, ...]:
    """Return all parts of the model that a GGUF file belongs to, in order: the file alone where it is not split.

    Raises:
        ModelError: a part is missing; names it.
    """
    found = _PART.match(file.name)
    if found is None:
        return (file,)
    count = int(found["count"])
    parts = tuple(file.with_name(f"{found['stem']}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1))
    for part in parts:
        if not part.is_file():
            raise ModelError(
                f"{file.parent}: {part.name} is missing, one of {count} parts of a GGUF model", code="model-damaged"
            )
    return parts


def read_parts(file: Path) -> Header:
    """Read the head of a model: the pairs of its first part, and the tensors of all.

    Raises:
        ModelError: a part is missing, is damaged, or is one of another model.
    """
    parts = parts_of(file)
    headers = [read_header(part) for part in parts]
    _check_numbers(parts, headers)
    return Header(headers[0].metadata, tuple(tensor for header in headers for tensor in header.tensors))


def _check_numbers(parts: Sequence[Path], headers: Sequence[Header]) -> None:
    """Hold what the files say of their places against their names."""
    for number, (part, header) in enumerate(zip(parts, headers, strict=True)):
        stated = (header.metadata.get("split.no", 0), header.metadata.get("split.count") or 1)
        if not all(isinstance(value, int) for value in stated):
            raise ModelError(
                f"{part}: split.no = {stated[0]!r}, split.count = {stated[1]!r}; expected integers",
                code="model-config-invalid",
            )
        if stated != (number, len(parts)):
            raise ModelError(
                f"{part}: says that it is part {stated[0] + 1} of {stated[1]}, its name that it is "
                f"part {number + 1} of {len(parts)}: keep the names under which it was published",
                code="model-damaged",
            )
    expected = headers[0].metadata.get("split.tensors.count")
    tensors = sum(len(header.tensors) for header in headers)
    if expected is not None and expected != tensors:
        raise ModelError(
            f"{parts[0]}: announces {expected} tensors, its parts hold {tensors}: one was replaced or cut",
            code="model-damaged",
        )
