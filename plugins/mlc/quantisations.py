"""The weight formats of MLC that can be asked for, and one of our own."""

from __future__ import annotations

from pydantic import JsonValue

from ...core.contract.model import CommonFormat, Quantisation
from .relax.layout import GROUP, WeightFormat

FORMATS: dict[str, WeightFormat] = {
    "q0f32": WeightFormat(32),
    "q0f16": WeightFormat(16),
    "q4f16_1": WeightFormat(4, "float16"),
    "q4f32_1": WeightFormat(4, "float32"),
    "q8f16_g32": WeightFormat(8, "float16"),
}
"""How each format stores its matrices."""

OWN = frozenset({"q8f16_g32"})
"""Formats that MLC-LLM does not have."""

_SUMMARIES = {
    "q0f32": "every weight in float32",
    "q0f16": "every weight in float16; the tvm engine computes in float32",
    "q4f16_1": "every matrix, embedding included: 4-bit groups of 32 along the input with a float16 scale",
    "q4f32_1": "as q4f16_1 with float32 scales",
    "q8f16_g32": "our own, not MLC-LLM's: as q4f16_1 with 8 bits",
}


def _bits(form: WeightFormat) -> float:
    scale_bits = {None: 0, "float16": 16, "float32": 32}[form.scale_dtype]
    return form.bits + scale_bits / GROUP


_COMMON: dict[str, dict[CommonFormat, dict[str, JsonValue]]] = {
    "q0f32": {"fp32": {}},
    "q8f16_g32": {"8bit": {}},
    "q4f16_1": {"4bit": {}},
}

QUANTISATIONS: tuple[Quantisation, ...] = tuple(
    Quantisation(name, _bits(form), _SUMMARIES[name], ("safetensors", "mlc"), _COMMON.get(name, {}))
    for name, form in FORMATS.items()
)


def model_dtype(quantisation: str) -> str:
    """Return the number format of what is not quantised, on disk: the second half of MLC's names."""
    return "float16" if "f16" in quantisation else "float32"
