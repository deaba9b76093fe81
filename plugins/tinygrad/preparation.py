"""From a folder or a .gguf file to what tinygrad opens, and whether it can."""

from __future__ import annotations

from pathlib import Path

from ... import ModelError
from ...core.contract.model import PreparedModel, ResolvedModel
from ...core.sdk.gguf.facts import inspect_gguf, notes_on
from ...core.sdk.gguf.metadata import read_header
from ...core.sdk.gguf.parts import find_gguf, parts_of, read_parts
from ...core.sdk.gguf.preparation import check_gguf
from .quantisations import AS_STORED, OWN_NAMES, READABLE_TYPES


def check_model(model: ResolvedModel, quantisation: str) -> None:
    """Raise ``ModelError`` for a model that tinygrad's network does not compute, before anything is made of it."""
    from .checkpoint import Plan
    from .gguf_file import ARCHITECTURES, check_architecture

    file = find_gguf(model.path)
    if file is not None and quantisation not in OWN_NAMES:
        check_architecture(file, read_header(file).metadata)
        if quantisation == AS_STORED:
            prepared_file(model)
        else:
            check_gguf(model, quantisation)
        if quantisation in (AS_STORED, inspect_gguf(file).quantisation):
            _check_types(file)
    elif file is None and quantisation != AS_STORED:
        try:
            Plan.read(model.path)
        except ModelError as error:
            raise ModelError(
                f"{error}. Of a .gguf file tinygrad computes {', '.join(ARCHITECTURES)}", code=error.code
            ) from error


def _check_types(file: Path) -> None:
    """Refuse a file with a tensor that tinygrad cannot unpack; llama.cpp may have fallen back to such a type."""
    foreign = next((tensor for tensor in read_parts(file).tensors if tensor.kind.name not in READABLE_TYPES), None)
    if foreign is not None:
        raise ModelError(
            f"{file}: tensor {foreign.name!r} is {foreign.kind.name}, which tinygrad cannot unpack; ask for "
            "float32 or f32, which are made from the file",
            code="quantisation-unsupported",
        )


def prepared_folder(model: ResolvedModel, quantisation: str) -> PreparedModel:
    """Check a folder, whose weights are packed at load; raises ``ModelError`` for another model, or a damaged one."""
    from .checkpoint import Plan

    if not model.path.is_dir() or model.architecture is None:
        raise ModelError(
            f"{model.path} is not a Hugging Face folder (no config.json with 'architectures'); "
            f"a .gguf file is run with quantisation {AS_STORED!r}",
            code="container-unsupported",
        )
    plan = Plan.read(model.path)
    weight_bytes = plan.weight_bytes(quantisation)
    return PreparedModel(
        path=model.path,
        format="safetensors",
        weight_bytes=weight_bytes,
        bits_per_weight=8 * weight_bytes / plan.parameters(),
        source=model,
        quantisation=quantisation,
    )


def prepared_file(model: ResolvedModel) -> PreparedModel:
    """Return a .gguf file as it is; raises ``ModelError`` where there is none, or it is one of several parts."""
    path = find_gguf(model.path)
    if path is None:
        raise ModelError(
            f"{model.path}: quantisation {AS_STORED!r} needs a .gguf file, and there is none",
            code="container-unsupported",
        )
    facts, parts = inspect_gguf(path), len(parts_of(path))
    if parts > 1:
        raise ModelError(
            f"{path}: tinygrad reads no model in {parts} parts; quantisation {facts.quantisation!r} joins them",
            code="container-unsupported",
        )
    return PreparedModel(
        path=path,
        format="gguf",
        weight_bytes=facts.weight_bytes,
        bits_per_weight=facts.bits_per_weight,
        source=model,
        quantisation=AS_STORED,
        notes=notes_on(facts),
    )
