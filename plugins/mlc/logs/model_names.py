"""Model and weight format out of the name of a model folder: `HF://mlc-ai/Llama-3.2-1B-Instruct-q4f16_1-MLC`."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"(?P<model>.+?)[-_](?P<format>q\d(?:f16|f32|bf16)(?:_\w+)?|autoawq\w*|q\dft\w*|e[45]m[32]\w*)(?:-MLC)?"
)


def split_name(name: str) -> tuple[str, str]:
    """Return model and weight format, each ``unknown`` where the name does not tell it."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    found = _NAME.fullmatch(last)
    return (found["model"], found["format"]) if found else (last.removesuffix("-MLC") or "unknown", "unknown")
