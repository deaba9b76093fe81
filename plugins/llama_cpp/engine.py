"""Loading models and making contexts: what lies between the backend and llama.cpp's C functions."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ... import BackendError, ModelError, OutOfMemoryError
from ...core.sdk.gguf.engine_log import engine_log
from .devices import device_list
from .options import LlamaCppOptions, Switch

_FLASH: dict[Switch, int] = {"auto": -1, "off": 0, "on": 1}


def load_model(path: Path, device: str, options: LlamaCppOptions, extra_buffers: bool) -> Any:  # noqa: ANN401 - a C pointer
    """Load a GGUF file.

    Args:
        path: the file.
        device: ``"cpu"`` or one that ``devices()`` lists.
        options: the backend's options.
        extra_buffers: whether weights may be repacked for the CPU.

    Returns:
        The engine's model handle.

    Raises:
        ModelError: the engine cannot load the file.
        OutOfMemoryError: there is not memory enough.
    """
    import llama_cpp

    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = extra_buffers
    parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP if options.mmap else llama_cpp.LLAMA_LOAD_MODE_NONE
    chosen = device_list(device)  # must outlive the call
    parameters.devices = ctypes.cast(chosen, ctypes.c_void_p)
    if device == "cpu":
        parameters.n_gpu_layers = 0
    else:
        parameters.n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    with engine_log() as log:
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        text = f"{path}: llama.cpp could not load it: {log.last_words()}"
        raise OutOfMemoryError(text) if log.says_memory() else ModelError(text, code="load-failed")
    return model


def new_context(
    model: Any,  # noqa: ANN401
    n_ctx: int,
    device: str,
    options: LlamaCppOptions,
    n_threads: int,
    n_sequences: int = 1,
) -> tuple[Any, str]:
    """Make a context: KV cache and compute buffers.

    Args:
        model: the engine's model handle.
        n_ctx: positions of the KV cache.
        device: where the model lies.
        options: the backend's options.
        n_threads: CPU threads.
        n_sequences: sequences that share the positions equally.

    Returns:
        The engine's context handle, and whether it uses flash attention: ``"on"``, ``"off"`` or ``"auto"`` where
        it does not say.

    Raises:
        BackendError: the engine refuses this combination of options.
        OutOfMemoryError: there is not memory enough.
    """
    import llama_cpp
    from gguf import GGMLQuantizationType

    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = n_ctx
    parameters.n_seq_max = n_sequences
    parameters.kv_unified = False
    parameters.n_batch = options.n_batch
    parameters.n_ubatch = options.n_ubatch
    parameters.n_threads = parameters.n_threads_batch = n_threads
    parameters.flash_attn_type = _FLASH[options.flash_attention]
    kv_type = GGMLQuantizationType[options.kv_cache_type.upper()].value
    parameters.type_k = parameters.type_v = kv_type
    parameters.offload_kqv = parameters.op_offload = device != "cpu"
    parameters.no_perf = False  # the default is to keep no counters
    architecture = stated(model, "general.architecture")
    for beta in ("yarn_beta_fast", "yarn_beta_slow"):  # for most architectures the engine does not look into the file
        value = stated(model, f"{architecture}.rope.scaling.{beta}")
        if value is not None:
            setattr(parameters, beta, float(value))
    with engine_log() as log:
        context = llama_cpp.llama_init_from_model(model, parameters)
    if not context:
        error = OutOfMemoryError if log.says_memory() else BackendError
        raise error(f"llama.cpp could not make a context of {n_ctx} positions: {log.last_words()}")
    return context, log.flash_attention() or options.flash_attention


def stated(model: Any, key: str) -> str | None:  # noqa: ANN401 - a C pointer
    """Return what the file of a loaded model says under a key, as text; None for nothing."""
    import llama_cpp

    buffer = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return None if length < 0 else buffer.value.decode(errors="replace")
