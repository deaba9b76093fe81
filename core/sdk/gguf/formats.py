"""The weight formats of llama.cpp: those that can be made, and those in which files are run as they are."""

from __future__ import annotations

from pydantic import JsonValue

from ...contract.model import CommonFormat, Quantisation

# Bits per weight of the mixed formats: llama.cpp's own table for Llama 3.1 8B (tools/quantize/README.md); of the
# uniform ones: size of a block over its weights (ggml-common.h).
_FORMATS: tuple[tuple[str, int, float, str], ...] = (
    ("f16", 1, 16.0, "half precision, vectors in f32"),
    ("f32", 0, 32.0, "single precision"),
    ("bf16", 32, 16.0, "bfloat16, vectors in f32"),
    ("q8_0", 7, 8.5, "8-bit blocks of 32 with an f16 scale"),
    ("q6_k", 18, 6.5625, "6-bit super-blocks of 256"),
    ("q5_k_m", 17, 5.70, "5-bit super-blocks of 256, sensitive matrices in 6 bits"),
    ("q5_k_s", 16, 5.57, "5-bit super-blocks of 256"),
    ("q5_1", 9, 6.0, "5-bit blocks of 32 with scale and minimum"),
    ("q5_0", 8, 5.5, "5-bit blocks of 32 with a scale"),
    ("q4_k_m", 15, 4.89, "4-bit super-blocks of 256, sensitive matrices in 6 bits"),
    ("q4_k_s", 14, 4.67, "4-bit super-blocks of 256, few matrices in 5 bits"),
    ("q4_1", 3, 5.0, "4-bit blocks of 32 with scale and minimum"),
    ("q4_0", 2, 4.5, "4-bit blocks of 32 with a scale"),
    ("iq4_nl", 25, 4.5, "4-bit blocks of 32 with a non-linear codebook"),
    ("iq4_xs", 30, 4.25, "4-bit super-blocks of 256 with a non-linear codebook"),
    ("q3_k_l", 13, 4.30, "3-bit super-blocks of 256, sensitive matrices in 5 bits"),
    ("q3_k_m", 12, 4.00, "3-bit super-blocks of 256, sensitive matrices in 4 to 5 bits"),
    ("q3_k_s", 11, 3.64, "3-bit super-blocks of 256"),
    ("q2_k", 10, 3.16, "2-bit super-blocks of 256, sensitive matrices in 3 bits and more"),
)

_AS_STORED: tuple[tuple[str, int, float, str], ...] = (
    ("q2_k_s", 21, 2.97, "2-bit super-blocks of 256"),
    ("iq3_m", 27, 3.76, "3-bit super-blocks of 256 with a codebook, sensitive matrices in 4 bits"),
    ("iq3_s", 26, 3.66, "3-bit super-blocks of 256 with a codebook"),
    ("iq3_xs", 22, 3.50, "3-bit super-blocks of 256 with a codebook"),
    ("iq3_xxs", 23, 3.25, "3-bit super-blocks of 256 with a codebook"),
    ("iq2_m", 29, 2.93, "2-bit super-blocks of 256 with a codebook, sensitive matrices in 3 bits"),
    ("iq2_s", 28, 2.74, "2-bit super-blocks of 256 with a codebook"),
    ("iq2_xs", 20, 2.59, "2-bit super-blocks of 256 with a codebook"),
    ("iq2_xxs", 19, 2.38, "2-bit super-blocks of 256 with a codebook"),
    ("iq1_m", 31, 2.15, "1-bit super-blocks of 256 with a codebook"),
    ("iq1_s", 24, 2.00, "1-bit super-blocks of 256 with a codebook"),
    ("tq2_0", 37, 2.06, "ternary super-blocks of 256, four weights a byte"),
    ("tq1_0", 36, 1.69, "ternary super-blocks of 256, five weights a byte"),
    ("mxfp4_moe", 38, 4.25, "experts in 4-bit floats, blocks of 32 with an 8-bit scale"),
)
"""Made by others, mostly with an importance matrix, without which they lose too much."""

_COMMON: dict[str, dict[CommonFormat, dict[str, JsonValue]]] = {
    "f32": {"fp32": {}},
    "q8_0": {"8bit": {}},
    "q4_k_m": {"4bit": {}},
}

QUANTISATIONS: tuple[Quantisation, ...] = (
    *(
        Quantisation(name, bits, summary, reads=("safetensors", "gguf"), common=_COMMON.get(name, {}))
        for name, _, bits, summary in _FORMATS
    ),
    *(Quantisation(name, bits, summary, reads=("gguf",)) for name, _, bits, summary in _AS_STORED),
)
FILE_TYPES: dict[str, int] = {name: file_type for name, file_type, _, _ in (*_FORMATS, *_AS_STORED)}
"""Name to ``general.file_type`` of the GGUF specification."""

UNQUANTISED = ("f32", "f16", "bf16")
"""Formats that the converter writes itself and that may be quantised further."""

MADE = tuple(name for name, _, _, _ in _FORMATS)
"""Formats that are made here; files in the others are run as they are."""

_BITS = {name: bits for name, _, bits, _ in (*_FORMATS, *_AS_STORED)}


def name_of(file_type: int) -> str:
    """Return the name for a ``general.file_type``, ``"type <n>"`` for one that is not offered here."""
    return next((name for name, number in FILE_TYPES.items() if number == file_type), f"type {file_type}")


def nominal_bytes(quantisation: str, elements: int) -> int:
    """Return about how many bytes so many weights take in a format."""
    return int(elements * _BITS[quantisation] / 8)
