"""Finding the model that a user names: a plugin's named model, a path or a Hub id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ... import defaults
from ..cache import ModelCache, sha256
from ..contract.model import ResolvedModel
from ..contract.model_source import ModelSource
from ..errors import ModelError, unknown_name
from ..files import write_whole
from .gguf.facts import inspect_gguf
from .gguf.parts import find_gguf, parts_of
from .sources.hub import DESCRIPTIONS, fetch
from .sources.pickled_weights import PICKLES, is_pickled

MLC_CONFIG = "mlc-chat-config.json"
_MODEL_FILES = (*DESCRIPTIONS, "*.safetensors", "*.gguf", *PICKLES)
_IS_SHA256 = re.compile("[0-9a-f]{64}")
_HASH_CACHE_FROM_BYTES = 32 * 2**20  # below, hashing costs less than looking the hash up


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
        return _inspect(name, path.resolve(), cache)
    if name.startswith((".", "/", "~")):
        raise ModelError(f"model path {name!r} does not exist", code="model-not-found")
    if re.fullmatch(r"[\w.-]+/[\w.-]+(/[^:]+\.gguf)?", name):
        return _inspect(name, fetch(name, downloads=downloads), cache)
    raise unknown_name(
        "model",
        name,
        sources,
        "A model is a name from `decodebench models`, a path or a Hub id (org/name, or org/name/FILE.gguf).",
    )


def _materialise(source: ModelSource, cache: ModelCache) -> Path:
    if source.path is not None:
        return source.path
    if source.build is None:
        raise ModelError(
            f"model {source.name!r}: its plugin provides neither a path nor a builder", code="contract-broken"
        )
    return cache.entry(f"model-{source.name}", source.name, source.version, build=source.build)


def _inspect(name: str, path: Path, cache: ModelCache) -> ResolvedModel:
    files = _files_of(name, path)
    digest = content_hash(files, cache)
    config = path / "config.json"
    architecture = _architecture(config) if config.is_file() else None
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
    return ResolvedModel(name, path, digest, architecture)


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


def _architecture(config: Path) -> str | None:
    try:
        listed = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [None]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{config}: not a model configuration ({error})", code="model-damaged") from error
    return str(listed[0]) if listed[0] else None


def content_hash(files: Iterable[Path], cache: ModelCache) -> str:
    """Return the SHA-256 over names and contents of ``files``, hex; large files are hashed once per change."""
    total = hashlib.sha256()
    for file in files:
        try:
            total.update(f"{file.name}\0{file_hash(file, cache)}\n".encode())
        except OSError as error:
            raise ModelError(f"cannot read {file}: {error.strerror}", code="file-unreadable") from error
    return total.hexdigest()


def file_hash(file: Path, cache: ModelCache) -> str:
    """Return the SHA-256 of a file, hex; that of a large one is kept until the file changes.

    Raises:
        OSError: it cannot be read.
    """
    status = file.stat()
    if status.st_size < _HASH_CACHE_FROM_BYTES:
        return sha256(file)
    # The time of the last change of status cannot be set back, as that of the content can.
    seen = (file.resolve(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = cache.root / "hashes" / hashlib.sha256("\0".join(map(str, seen)).encode()).hexdigest()
    if known.is_file() and _IS_SHA256.fullmatch(digest := known.read_text(errors="replace")):
        return digest
    digest = sha256(file)
    write_whole(known, digest)
    return digest


def model_bytes(model: ResolvedModel) -> int:
    """Return the size of the model's weight files in bytes."""
    if model.path.is_file():
        return sum(part.stat().st_size for part in parts_of(model.path))
    weights = (f for pattern in ("*.safetensors", "*.gguf", "*.bin") for f in model.path.glob(pattern))
    return sum(f.stat().st_size for f in weights)
