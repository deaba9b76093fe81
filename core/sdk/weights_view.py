"""A folder's weights under the names that Hugging Face's libraries look for, whatever they are called in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .checkpoint import INDEX, SINGLE, read_header, weight_files


@contextmanager
def weights_view(folder: Path) -> Iterator[Path]:
    """Yield a folder in which every library opens the weights that ``weight_files`` names, and no others.

    transformers opens ``model.safetensors``, else what an index names; mlx-lm all of ``model*.safetensors``. Shards
    without an index, another name, or a file beside an index would be other weights to each, or none. It is the folder
    itself where all agree, else one of links, which lasts until the libraries have opened the files.

    Raises:
        ModelError: there are no weights, or they are damaged.
    """
    files = weight_files(folder)
    single = folder / SINGLE
    is_named = files == [single] or ((folder / INDEX).exists() and not single.exists())
    if is_named and set(folder.glob("model*.safetensors")) == set(files):
        yield folder
        return
    with TemporaryDirectory(prefix="decodebench-view-") as scratch:
        _link(folder, files, Path(scratch))
        yield Path(scratch)


def _link(folder: Path, files: list[Path], view: Path) -> None:
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name != INDEX:
            (view / file.name).symlink_to(file.absolute())
    count = len(files)
    names = [SINGLE] if count == 1 else [f"model-{at:05d}-of-{count:05d}.safetensors" for at in range(1, count + 1)]
    for name, file in zip(names, files, strict=True):
        (view / name).symlink_to(file.absolute())
    if count > 1:
        found = {tensor.name: name for name, file in zip(names, files, strict=True) for tensor in read_header(file)}
        (view / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": found}))
