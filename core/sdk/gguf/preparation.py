"""From the model as the user named it to the GGUF file that the engine opens."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from ...cache import ModelCache
from ...contract.model import PreparedModel, ResolvedModel
from ...errors import ModelError
from ...foreign_text import path_part
from ..checkpoint import Checkpoint
from ..models import file_hash
from .architecture import Shape
from .facts import GgufFacts, fallback_notes, inspect_gguf
from .formats import FILE_TYPES, MADE, UNQUANTISED, nominal_bytes
from .metadata import read_header
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
            return Shape.of_any(Checkpoint(path)).arch
        except ModelError as error:
            raise ModelError(f"{error}. A .gguf file of the model is opened as it is", code=error.code) from error
    _check_way(existing, inspect_gguf(existing), quantisation)
    return str(read_header(existing).metadata.get("general.architecture"))


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

    hashes = (file_hash(part, cache) for part in parts_of(source))
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
        notes=fallback_notes(facts),
    )
