"""From the model as the user named it to the GGUF file that the engine opens."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from ...cache import ModelCache
from ...contract.model import PreparedModel, ResolvedModel
from ...errors import ModelError
from ...foreign_text import path_part
from ..models import file_hash
from .facts import GgufFacts, fallback_notes, inspect_gguf
from .formats import FILE_TYPES, UNQUANTISED
from .metadata import find_gguf

_FILE = "model.gguf"
_FACTS = "facts.json"


def prepare_gguf(model: ResolvedModel, quantisation: str, cache: ModelCache) -> PreparedModel:
    """Find or make the GGUF file of ``model`` in the weight format ``quantisation``.

    Raises:
        ModelError: there is no way from the model to that format; names the cause.
    """
    if quantisation not in FILE_TYPES:
        raise ModelError(f"llama.cpp has no quantisation {quantisation!r}; known: {', '.join(FILE_TYPES)}")
    existing = find_gguf(model.path)
    if existing is None:
        return _prepared(model, quantisation, _from_checkpoint(model, quantisation, cache))
    facts = inspect_gguf(existing)
    if facts.quantisation == quantisation:
        return _described(model, existing, facts)
    if facts.quantisation not in UNQUANTISED:
        raise ModelError(
            f"{existing}: its weights are {facts.quantisation}, not {quantisation}; "
            f"only f32, f16 and bf16 files can be quantised: ask for {facts.quantisation}"
        )
    return _prepared(model, quantisation, _requantised(model, existing, quantisation, cache))


def _from_checkpoint(model: ResolvedModel, quantisation: str, cache: ModelCache) -> Path:
    from ..checkpoint import Checkpoint
    from .conversion import CONVERTER_VERSION, lossless_type, write_gguf

    name = _slug(model)
    key = (model.content_hash, CONVERTER_VERSION, version("gguf"))
    if quantisation in UNQUANTISED:

        def convert(folder: Path) -> None:
            write_gguf(Checkpoint(model.path), folder / _FILE, quantisation, name)
            _keep_facts(folder)

        return cache.entry(f"gguf-{name}-{quantisation}", "convert", quantisation, *key, build=convert)

    def convert_and_quantise(folder: Path) -> None:
        from .quantise import quantise

        checkpoint = Checkpoint(model.path)
        whole = _from_checkpoint(model, lossless_type(checkpoint), cache)
        quantise(whole / _FILE, folder / _FILE, quantisation)
        _keep_facts(folder)

    made_by = (*key, version("llama-cpp-python"))
    return cache.entry(f"gguf-{name}-{quantisation}", "quantise", quantisation, *made_by, build=convert_and_quantise)


def _requantised(model: ResolvedModel, source: Path, quantisation: str, cache: ModelCache) -> Path:
    def build(folder: Path) -> None:
        from .quantise import quantise

        quantise(source, folder / _FILE, quantisation)
        _keep_facts(folder)

    key = ("requantise", quantisation, file_hash(source, cache), version("llama-cpp-python"))
    return cache.entry(f"gguf-{_slug(model)}-{quantisation}", *key, build=build)


def _slug(model: ResolvedModel) -> str:
    return path_part(Path(model.name).name)


def _keep_facts(folder: Path) -> None:
    """Store what the file holds beside it: reading a large vocabulary anew takes seconds."""
    (folder / _FACTS).write_text(json.dumps(asdict(inspect_gguf(folder / _FILE))))


def _prepared(model: ResolvedModel, quantisation: str, folder: Path) -> PreparedModel:
    stored = json.loads((folder / _FACTS).read_text())
    stored["matrices"] = tuple((row, kind) for row, kind in stored["matrices"])
    return _described(model, folder / _FILE, GgufFacts(**{**stored, "quantisation": quantisation}))


def _described(model: ResolvedModel, path: Path, facts: GgufFacts) -> PreparedModel:
    return PreparedModel(
        path=path,
        format="gguf",
        weight_bytes=facts.weight_bytes,
        bits_per_weight=facts.bits_per_weight,
        source=model,
        quantisation=facts.quantisation,
        notes=fallback_notes(facts),
    )
