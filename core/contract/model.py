"""A model on its way into an engine: as the user named it, prepared, and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import JsonValue

Container = Literal["safetensors", "gguf", "mlc", "pickle"]
"""How a model is stored: a Hugging Face folder, GGUF files, MLC's format, or a folder with pickled weights."""

CONTAINERS: tuple[Container, ...] = get_args(Container)
"""All of them."""

CommonFormat = Literal["fp32", "bf16", "8bit", "4bit"]
"""Names of weight formats that mean nearly the same with every backend."""


FLOAT_FORMATS: Mapping[CommonFormat, Mapping[str, JsonValue]] = {
    "fp32": {"dtype": "float32"},
    "bf16": {"dtype": "bfloat16"},
}
"""What ``Quantisation.common`` is where a backend leaves weights as they are, in the format of its option ``dtype``."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """A weight format that a backend offers, in the backend's own words.

    Attributes:
        name: the backend's name for it, e.g. ``"q4_k_m"``.
        bits_per_weight: nominal bits per quantised weight, scales included; formats of different engines are
            comparable by it. None: unknown, as for a remote server.
        summary: what is quantised and how, one line.
        reads: containers from which ``prepare`` makes it; if only Hugging Face folders are named, the host converts
            GGUF models.
        common: common names that mean this format, each with the options that it needs besides, such as
            ``{"bf16": {"dtype": "bfloat16"}}``.
    """

    name: str
    bits_per_weight: float | None
    summary: str
    reads: Sequence[Container] = ("safetensors",)
    common: Mapping[CommonFormat, Mapping[str, JsonValue]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model as the user named it, found on disk.

    Attributes:
        name: the user's name for it: ``tiny:target``, a Hub id or a path.
        path: a Hugging Face folder, or an engine's own file or folder (such as a ``.gguf``).
        content_hash: SHA-256 over names and contents of the files that define the model, hex.
        architecture: ``architectures[0]`` of ``config.json``; None where there is no such file.
        companions: the second model that the cell's backend uses, by the backend's name (``{"dflash": ...}``).
        container: how it is stored.
        stored_format: weight format of a GGUF model, e.g. ``"q4_1"``, or of weights that a folder holds quantised, e.g.
            ``"4bit"``; None for other models.
        notes: what a reader of results must know about its weights, such as ``"weights from q4_1"``.
    """

    name: str
    path: Path
    content_hash: str
    architecture: str | None = None
    companions: Mapping[str, ResolvedModel] = field(default_factory=dict)
    container: Container = "safetensors"
    stored_format: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """What ``prepare`` returns for ``load``.

    Attributes:
        path: file or folder that the engine opens.
        format: the file format, e.g. ``"safetensors"`` or ``"gguf"``.
        weight_bytes: bytes of all weights as stored; None where unknown before loading.
        bits_per_weight: measured bits per weight, scales included.
        source: the model it was made from.
        quantisation: the quantisation's name.
        companions: prepared companions, by backend.
        notes: what a reader of the result must know, e.g. a documented fallback of the engine.
    """

    path: Path
    format: str
    weight_bytes: int | None
    bits_per_weight: float | None
    source: ResolvedModel
    quantisation: str
    companions: Mapping[str, PreparedModel] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the engine reports about the loaded model; None: not reported.

    Attributes:
        parameters: number of parameters, tied ones counted once.
        weight_bytes: bytes the weights occupy in the engine; 0 where there are none.
        context_length: longest sequence in tokens; prompts are not checked against an unknown one.
        vocabulary_size: rows of the output layer; random prompts need it, or a tokenizer that has it.
        stop_token_ids: ids that end a generation besides those that the model's files name.
        n_threads: CPU threads that the engine computes with; None: unknown, or not its choice.
        settings: what else the engine chose by itself and a reader must know (``{"extra_buffers": "off"}``).
        read_weight_bytes: weight bytes that one forward of one token reads: all but idle experts and tables that
            are only indexed, such as an input embedding that is not also the output layer.
        kv_bytes_per_token: bytes that one position occupies in the KV cache over all layers; None where a layer does
            not read every position, as with a sliding window.
    """

    parameters: int | None = None
    weight_bytes: int | None = None
    context_length: int | None = None
    vocabulary_size: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    n_threads: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    read_weight_bytes: int | None = None
    kv_bytes_per_token: int | None = None
