"""Devices of the engine by the names that decodebench gives them."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from ... import UsageError, unknown_name

_CPU, _GPU = 0, 1  # enum ggml_backend_dev_type; 2 is an integrated GPU, 3 an accelerator library
_INTEGRATED_GPU = 2


def list_devices() -> tuple[str, ...]:
    """Return ``"cpu"`` and, before it, every GPU that the installed build drives."""
    return (*_gpus(), "cpu")


def device_label(engine_name: str) -> str:
    """Turn the engine's name into ours: ``CUDA0`` is ``cuda:0``, ``MTL0`` or ``Metal`` is ``metal``."""
    if re.fullmatch(r"(MTL|Metal)\d*", engine_name):
        return "metal"
    match = re.fullmatch(r"([A-Za-z]+)(\d+)", engine_name)
    return f"{match[1].lower()}:{match[2]}" if match else engine_name.lower()


def device_list(device: str) -> Any:  # noqa: ANN401 - a C array
    """Return the NULL-terminated list of devices for the engine; for the CPU it is empty, so no GPU is touched.

    Raises:
        UsageError: the installed build has no such device.
    """
    if device == "cpu":
        return (ctypes.c_void_p * 1)(None)
    gpus = _gpus()
    if device not in gpus:
        raise unknown_name("device", device, list_devices(), "GPUs need llama-cpp-python built for them")
    return (ctypes.c_void_p * 2)(gpus[device], None)


def check_layers(device: str, n_gpu_layers: int | None) -> None:
    """Reject layers for a GPU where there is none.

    Raises:
        UsageError: ``n_gpu_layers`` is set and the device is the CPU.
    """
    if device == "cpu" and n_gpu_layers:
        raise UsageError(
            f"option n_gpu_layers={n_gpu_layers} needs a GPU device; the device is 'cpu'", code="conflicting-flags"
        )


def _gpus() -> dict[str, int]:
    """Return handle by name, in the engine's order."""
    import llama_cpp
    from llama_cpp._ggml import libggml

    llama_cpp.llama_backend_init()
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    get, kind, name = (getattr(libggml, f"ggml_backend_dev_{what}") for what in ("get", "type", "name"))
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    kind.argtypes, kind.restype = [ctypes.c_void_p], ctypes.c_int
    name.argtypes, name.restype = [ctypes.c_void_p], ctypes.c_char_p
    handles = [get(i) for i in range(libggml.ggml_backend_dev_count())]
    return {
        device_label(name(handle).decode()): handle for handle in handles if kind(handle) in (_GPU, _INTEGRATED_GPU)
    }
