"""Finding the model that a user names: a plugin's named model, a path or a Hub id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ... import defaults
from ..cache import ModelCache
from ..contract.model import ResolvedModel
from ..contract.model_source import ModelSource
from ..errors import ModelError, unknown_name
from .checkpoint import architecture_of, read_json
from .gguf.facts import inspect_gguf
from .gguf.parts import find_gguf, parts_of
from .sources.hub import DESCRIPTIONS, fetch
from .sources.pickled_weights import CHECKPOINT, PICKLES, is_pickled
from .stored_weights import stored_weights

MLC_CONFIG = "mlc-chat-config.json"
_HOLDING_WEIGHTS = ("*.safetensors", "*.gguf", *PICKLES)
_MODEL_FILES = (*DESCRIPTIONS, *_HOLDING_WEIGHTS)


def example_model(backend_name: str, sources: Mapping[str, ModelSource]) -> str:
    """Return the model that a backend is shown and checked with where nobody names one."""
    source = sources.get(defaults.EXAMPLE_MODEL)
    return source.stand_ins.get(backend_name, source.name) if source else defaults.EXAMPLE_MODEL


def resolve(
    name: str, sources: Mapping[str, ModelSource], cache: ModelCache, *, downloads: bool = True
) -> ResolvedModel:
    """Find the model called ``name``: a named model first, then a path, then a Hub id; without its companions.

    Args:
        name: as the user gave it.
        sources: named models of plugins.
        cache: where models that are built are kept.
        downloads: whether a model of the Hub may be fetched.

    Raises:
        UsageError: the name is neither of the three.
        ModelError: the path has no model, or the Hub does not provide it.
    """
    source = sources.get(name)
    if source is not None:
        return _inspect(name, _materialise(source, cache), cache)
    path = Path(name).expanduser()
    if path.exists():
        return _inspect(name, _placed(path), cache)
    if name.startswith((".", "/", "~")):
        raise ModelError(f"model path {name!r} does not exist", code="model-not-found")
    if re.fullmatch(r"[\w.-]+/[\w.-]+(/[^:]+\.gguf)?", name):
        return _inspect(name, fetch(name, cache.notices, downloads=downloads), cache)
    raise unknown_name(
        "model",
        name,
        sources,
        "A model is a name from `decodebench models`, a path or a Hub id (org/name, or org/name/FILE.gguf).",
    )


def _placed(path: Path) -> Path:
    """Return where a path leads; a link keeps the name of a GGUF file, and its folder the other parts.

    In the Hub's cache the files of a snapshot are links to files that are called by their hashes.
    """
    found = path.resolve()
    return Path(os.path.abspath(path)) if found.is_file() and found.suffix != path.suffix else found


def _materialise(source: ModelSource, cache: ModelCache) -> Path:
    if source.path is not None:
        return source.path
    if source.build is None:
        raise ModelError(
            f"model {source.name!r}: its plugin provides neither a path nor a builder", code="contract-broken"
        )
    return cache.entry(f"model-{source.name}", source.name, source.version, build=source.build)


def _inspect(name: str, path: Path, cache: ModelCache) -> ResolvedModel:
    _refuse_adapter(name, path)
    files = _files_of(name, path)
    digest = content_hash(files, cache)
    config = path / "config.json"
    stated = read_json(config) if config.is_file() else {}
    architecture = architecture_of(stated, config)
    if (path / MLC_CONFIG).is_file():
        return ResolvedModel(name, path, digest, architecture, container="mlc")
    if is_pickled(name, path):
        return ResolvedModel(name, path, digest, architecture, container="pickle")
    file = find_gguf(path)
    if file is not None:
        stored = inspect_gguf(file).quantisation
        return ResolvedModel(name, path, digest, architecture, container="gguf", stored_format=stored)
    if architecture is None and not config.is_file():
        raise ModelError(
            f"model {name!r}: {path} has neither config.json nor a .gguf file, so it is not a model folder",
            code="model-not-found",
        )
    weights = stored_weights(stated)
    if weights is None:
        return ResolvedModel(name, path, digest, architecture)
    notes = (f"weights from {weights.words}",)
    return ResolvedModel(name, path, digest, architecture, stored_format=weights.format, notes=notes)


def _refuse_adapter(name: str, path: Path) -> None:
    """Raise ``ModelError`` for a folder that holds changes to another model, and no model."""
    file = path / "adapter_config.json"
    if not file.is_file() or any(
        not other.name.startswith("adapter_") for pattern in _HOLDING_WEIGHTS for other in path.glob(pattern)
    ):
        return
    base = read_json(file).get("base_model_name_or_path")
    raise ModelError(
        f"model {name!r}: {path} is an adapter (LoRA) of {base!r}, not a model: merge it into that one "
        "(merge_and_unload of peft), save the result as safetensors and name its folder",
        code="container-unsupported",
    )


def _files_of(name: str, path: Path) -> list[Path]:
    """Return every file that makes the model what it is: of a split one all parts, of a sharded one all shards."""
    try:
        if path.is_file():
            found = list(parts_of(path))
        else:
            found = sorted(f for pattern in _MODEL_FILES for f in path.glob(pattern))
    except OSError as error:
        raise ModelError(f"model {name!r}: cannot read {path}: {error.strerror}", code="file-unreadable") from error
    if not found:
        raise ModelError(
            f"model {name!r}: {path} has neither config.json nor a .gguf file, so it is not a model folder",
            code="model-not-found",
        )
    return found


def content_hash(files: Iterable[Path], cache: ModelCache) -> str:
    """Return the SHA-256 over names and contents of ``files``, hex; large files are hashed once per change."""
    total = hashlib.sha256()
    for file in files:
        try:
            total.update(f"{file.name}\0{cache.file_hash(file)}\n".encode())
        except OSError as error:
            raise ModelError(f"cannot read {file}: {error.strerror}", code="file-unreadable") from error
    return total.hexdigest()


def files_hash(model: ResolvedModel, cache: ModelCache) -> str:
    """Return the SHA-256 over the files of a model's folder as it is now: what a conversion of it depends on.

    Of a folder that was made of a GGUF model those are its own files, whatever the GGUF files were called.
    """
    return content_hash(_files_of(model.name, model.path), cache)


def model_bytes(model: ResolvedModel) -> int:
    """Return the size of the model's weight files in bytes; of several formats in one folder that which is opened."""
    if model.path.is_file():
        return sum(part.stat().st_size for part in parts_of(model.path))
    return sum(f.stat().st_size for pattern in _WEIGHTS[model.container] for f in model.path.glob(pattern))


_WEIGHTS = {"safetensors": ("*.safetensors",), "gguf": ("*.gguf",), "mlc": ("*.bin",), "pickle": (CHECKPOINT,)}
