"""Quantising a GGUF file with the engine's own routine."""

from __future__ import annotations

import ctypes
from pathlib import Path

from ...errors import ModelError
from ..cores import cores
from .engine_log import engine_log
from .facts import inspect_gguf
from .formats import FILE_TYPES, UNQUANTISED


def quantise(source: Path, destination: Path, quantisation: str) -> None:
    """Write ``source`` in another weight format.

    Args:
        source: an f32, f16 or bf16 GGUF file, of a split model the first; or a quantised one that is to be unpacked to
            one of these.
        destination: the file to write.
        quantisation: a name of ``QUANTISATIONS``.

    Raises:
        ModelError: the engine refused; holds its last words.
    """
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[quantisation]
    parameters.nthread = cores()
    parameters.allow_requantize = quantisation in UNQUANTISED  # what is quantised is only ever unpacked
    parameters.only_copy = inspect_gguf(source).quantisation == quantisation  # the parts of a split model are joined
    with engine_log() as log:
        status = llama_cpp.llama_model_quantize(
            str(source).encode(), str(destination).encode(), ctypes.byref(parameters)
        )
    if status != 0:
        raise ModelError(
            f"{source}: llama.cpp could not quantise it to {quantisation}: {log.last_words()}", code="conversion-failed"
        )
