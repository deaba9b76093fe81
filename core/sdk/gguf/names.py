"""Model and weight format out of what llama.cpp calls them: `llama 1B Q4_K - Medium`, `models/Llama-1B-Q4_K_M.gguf`."""

from __future__ import annotations

import re
from functools import lru_cache

_FORMAT = r"(?:IQ|Q|TQ)[1-8]\w*|F16|F32|BF16|MXFP4\w*|NVFP4\w*"
_TYPE = re.compile(rf"\s(?:all |mostly )?(?P<name>{_FORMAT})(?: - (?P<mix>Small|Medium|Large)\b| (?P<mixed>mix))?")
_SIZE = re.compile(r"\s(\d[\w.]*[KMBT])\b")
_FILE_FORMAT = re.compile(rf"[-._](?P<name>{_FORMAT})$", re.IGNORECASE)
_CONVERTED = "ggml-model"
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_UNNAMED = frozenset({"q2_k - medium"})  # the tool's word for the mix that every file name calls Q2_K


@lru_cache(maxsize=256)  # of a table, all rows are alike
def format_of(type_name: str, file_name: str = "") -> str | None:
    """Return the weight format by the backend's names, e.g. ``q4_k_m``; None where neither tells it.

    Args:
        type_name: what the engine calls model and format, or the format alone.
        file_name: the GGUF file, with or without folders.
    """
    if found := _TYPE.search(f" {type_name}"):
        name = found["name"].lower()
        if found["mixed"]:
            return name.replace("_s", "_m")
        mix = (found["mix"] or "").lower()
        return name if not mix or f"{name} - {mix}" in _UNNAMED else f"{name}_{mix[0]}"
    named = _FILE_FORMAT.search(_stem(file_name))
    return named["name"].lower() if named else None


@lru_cache(maxsize=256)
def model_of(type_name: str, file_name: str = "") -> str | None:
    """Return the model's name: that of its file without format and shard, else the engine's word for its family.

    A file that has the converter's own name is called by its folder.
    """
    if stem := _FILE_FORMAT.sub("", _stem(file_name)):
        folder = re.split(r"[/\\]", file_name)[-2:-1] if stem == _CONVERTED else []
        return folder[0] if folder and folder[0] else stem
    found = _TYPE.search(f" {type_name}")
    return (type_name[: found.start()] if found else type_name).strip() or None


@lru_cache(maxsize=256)
def size_of(type_name: str) -> str | None:
    """Return the size label, e.g. ``1B``."""
    found = _SIZE.search(f" {type_name}")
    return found[1] if found else None


def _stem(file_name: str) -> str:
    return _SHARD.sub("", re.split(r"[/\\]", file_name)[-1].removesuffix(".gguf").removesuffix(".bin"))
