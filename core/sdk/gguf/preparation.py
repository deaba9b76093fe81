"""From the model as the user named it to the GGUF file that the engine opens."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ...cache import ModelCache
from ...contract.model import PreparedModel, ResolvedModel
from ...errors import ModelError
from ...foreign_text import path_part
from ..checkpoint import Checkpoint, has_weight_files
from .architecture import Shape
from .conversion import pair_tensors
from .facts import GgufFacts, inspect_gguf, notes_on
from .formats import FILE_TYPES, MADE, UNQUANTISED, nominal_bytes
from .metadata import architecture_in, architecture_words, read_header
from .parts import find_gguf, parts_of, read_parts

_FILE = "model.gguf"


def prepare_gguf(
    model: ResolvedModel, quantisation: str, cache: ModelCache, *, in_one_file: bool = False
) -> PreparedModel:
    """Find or make the GGUF file of ``model`` in the weight format ``quantisation``.

    A file in that format is opened where it lies. Unquantised ones are quantised, quantised ones unpacked to a float
    format, by the engine's own routine.

    Args:
        model: a Hugging Face folder, or a GGUF model.
        quantisation: a name of ``QUANTISATIONS``.
        cache: where what is made is kept.
        in_one_file: the engine cannot read the parts of a split model.

    Raises:
        ModelError: there is no way from the model to that format; names the cause.
    """
    if quantisation not in FILE_TYPES:
        raise ModelError(
            f"llama.cpp has no quantisation {quantisation!r}; known: {', '.join(FILE_TYPES)}",
            code="quantisation-unsupported",
        )
    existing = find_gguf(model.path)
    if existing is None:
        _check_made(model.path, quantisation)
        return _prepared(model, quantisation, _from_checkpoint(model, quantisation, cache))
    facts = inspect_gguf(existing)
    if facts.quantisation == quantisation and not (in_one_file and len(parts_of(existing)) > 1):
        return _described(model, existing, facts)
    _check_way(existing, facts, quantisation)
    found = _prepared(model, quantisation, _rewritten(model, existing, quantisation, cache))
    if facts.quantisation in (*UNQUANTISED, quantisation):
        return found
    return replace(found, notes=(*found.notes, f"weights from {facts.quantisation}"))


def check_gguf(model: ResolvedModel, quantisation: str) -> str:
    """Say whether there is a way from a model to a GGUF format, before anything is made.

    Returns:
        The value of ``general.architecture``.

    Raises:
        ModelError: as ``prepare_gguf``, as far as configuration and headers say.
    """
    return _arch_of(model.path, model.content_hash, quantisation)


@lru_cache(maxsize=64)  # every cell of a plan asks
def _arch_of(path: Path, _content_hash: str, quantisation: str) -> str:
    existing = find_gguf(path)
    if existing is None:
        _check_made(path, quantisation)
        try:
            checkpoint = Checkpoint(path)
            shape = Shape.of_any(checkpoint)
            if has_weight_files(path):
                pair_tensors(checkpoint, shape.targets())
                _require_tokenizer(path)
            return shape.arch
        except ModelError as error:
            raise ModelError(f"{error}. A .gguf file of the model is opened as it is", code=error.code) from error
    arch = _check_engine_has(existing)
    _check_way(existing, inspect_gguf(existing), quantisation)
    return arch


def _require_tokenizer(folder: Path) -> None:
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder}: tokenizer.json is missing, without which no GGUF file is made", code="tokenizer-missing"
        )


def _check_engine_has(file: Path) -> str:
    """Return a file's architecture.

    Raises:
        ModelError: llama.cpp has no such architecture, the file is no language model, or a size is missing.
    """
    metadata = read_header(file).metadata
    arch, kind = architecture_in(metadata), metadata.get("general.type", "model")
    if arch is None or arch in _NO_MODELS or (_architectures() and arch not in _architectures()):
        raise ModelError(
            f"{file}: {architecture_words(metadata)} is not one that llama.cpp knows; the model's Hugging Face folder "
            "is opened by engines that have its architecture",
            code="model-unsupported",
        )
    if kind != "model":
        raise ModelError(
            f"{file}: general.type = {str(kind)[:80]!r}: not a language model but a part for one; name the model's own "
            ".gguf file",
            code="model-unsupported",
        )
    for name in ("context_length", "embedding_length", "block_count"):
        value = metadata.get(f"{arch}.{name}")
        if type(value) is not int or value < 1:
            raise ModelError(
                f"{file}: {arch}.{name} = {repr(value)[:80]}; llama.cpp needs an integer above 0",
                code="model-config-invalid",
            )
    return arch


_NO_MODELS = ("clip",)
"""Architectures of files that go with a model."""


@lru_cache(maxsize=1)
def _architectures() -> frozenset[str]:
    """Return those that llama.cpp has, by the package that describes its format; empty where that is not installed."""
    if find_spec("gguf") is None:
        return frozenset()
    from gguf import MODEL_ARCH_NAMES

    return frozenset(MODEL_ARCH_NAMES.values())


def _check_made(path: Path, quantisation: str) -> None:
    if quantisation not in MADE:
        raise ModelError(
            f"{path}: {quantisation} is run as it is stored in a .gguf file, and not made; made are {', '.join(MADE)}",
            code="quantisation-unsupported",
        )


def _check_way(existing: Path, facts: GgufFacts, quantisation: str) -> None:
    if facts.quantisation == quantisation:
        return
    _check_made(existing, quantisation)
    if facts.quantisation not in UNQUANTISED and quantisation not in UNQUANTISED:
        raise ModelError(
            f"{existing}: its weights are {facts.quantisation}, not {quantisation}, and would be rounded twice; "
            f"ask for {facts.quantisation}, or for f32, f16 or bf16",
            code="quantisation-unsupported",
        )


def _from_checkpoint(model: ResolvedModel, quantisation: str, cache: ModelCache) -> Path:
    from .conversion import CONVERTER_VERSION, lossless_type, write_gguf

    checkpoint, name = Checkpoint(model.path), _slug(model)
    key = (model.content_hash, CONVERTER_VERSION, version("gguf"))

    def convert(folder: Path) -> None:
        write_gguf(checkpoint, folder / _FILE, quantisation, name)

    def convert_and_quantise(folder: Path) -> None:
        from .quantise import quantise

        whole = folder / "unquantised.gguf"  # the engine's routine reads a file, and chooses formats tensor by tensor
        write_gguf(checkpoint, whole, lossless_type(checkpoint), name)
        quantise(whole, folder / _FILE, quantisation)
        whole.unlink()

    size = nominal_bytes(quantisation, checkpoint.elements)
    if quantisation in UNQUANTISED:
        what: tuple[str, ...] = ("convert", quantisation, *key)
        build = convert
    else:
        what = ("quantise", quantisation, *key, version("llama-cpp-python"))
        build = convert_and_quantise
        size += nominal_bytes(lossless_type(checkpoint), checkpoint.elements)
    return cache.entry(f"gguf-{name}-{quantisation}", *what, build=build, peak_bytes=size)


def _rewritten(model: ResolvedModel, source: Path, quantisation: str, cache: ModelCache) -> Path:
    def build(folder: Path) -> None:
        from .quantise import quantise

        quantise(source, folder / _FILE, quantisation)

    hashes = (cache.file_hash(part) for part in parts_of(source))
    key = ("requantise", quantisation, *hashes, version("llama-cpp-python"))
    elements = sum(tensor.elements for tensor in read_parts(source).tensors)
    peak = nominal_bytes(quantisation, elements)
    return cache.entry(f"gguf-{_slug(model)}-{quantisation}", *key, build=build, peak_bytes=peak)


def _slug(model: ResolvedModel) -> str:
    return path_part(Path(model.name).name)


def _prepared(model: ResolvedModel, quantisation: str, folder: Path) -> PreparedModel:
    path = folder / _FILE
    return _described(model, path, replace(inspect_gguf(path), quantisation=quantisation))


def _described(model: ResolvedModel, path: Path, facts: GgufFacts) -> PreparedModel:
    return PreparedModel(
        path=path,
        format="gguf",
        weight_bytes=facts.weight_bytes,
        bits_per_weight=facts.bits_per_weight,
        source=model,
        quantisation=facts.quantisation,
        notes=notes_on(facts),
    )
