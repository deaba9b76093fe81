"""The weight formats that can be asked for."""

from __future__ import annotations

from dataclasses import replace

from ...core.contract.model import Quantisation
from ...core.sdk.gguf.formats import QUANTISATIONS as GGUF_QUANTISATIONS

AS_STORED = "gguf"

_UNREADABLE = ("q2_k", "q3_k", "iq4_nl")
"""Beginnings of the GGUF formats whose blocks tinygrad cannot unpack."""

READABLE_TYPES = frozenset(
    "f32 f16 bf16 f64 i8 i16 i32 i64 q4_0 q4_1 q5_0 q5_1 q8_0 q4_k q5_k q6_k "
    "iq2_s iq3_xxs iq3_s iq4_xs mxfp4 q1_0".split()
)
"""Tensor types of GGUF that tinygrad 0.13 unpacks (``tinygrad.llm.gguf``)."""

OWN: tuple[Quantisation, ...] = (
    Quantisation("float32", 32.0, "all weights in single precision", common={"fp32": {}}),
    Quantisation("float16", 16.0, "matrices, embedding and head included, in half precision; vectors float32"),
    Quantisation(
        # The scale adds 32 bits to a row: 0.03 bits a weight over rows of about a thousand.
        "int8",
        8.03,
        "matrices, embedding and head included: int8 with one float32 scale a row; vectors float32",
        common={"8bit": {}},
    ),
    Quantisation(
        "nf4",
        4.25,
        "matrices, embedding and head included: NormalFloat4, two a byte, one float16 scale per 64; vectors float32",
        common={"4bit": {}},
    ),
    Quantisation(
        "fp8",
        8.03,
        "matrices, embedding and head included: float8 e4m3 with one float32 scale a row; vectors float32",
    ),
)
"""Made at load from a Hugging Face folder; activations and KV cache are float32."""

OWN_NAMES = frozenset(quantisation.name for quantisation in OWN)

GGUF: tuple[Quantisation, ...] = tuple(
    replace(q, common={}) for q in GGUF_QUANTISATIONS if "safetensors" in q.reads and not q.name.startswith(_UNREADABLE)
)
"""GGUF files that llama.cpp's converter makes and tinygrad reads: the same bytes in both engines."""

QUANTISATIONS: tuple[Quantisation, ...] = (
    *OWN,
    *GGUF,
    Quantisation(
        AS_STORED,
        16.0,
        "a .gguf file as it is; the bits are those of the file, 16 stands for them here",
        reads=("gguf",),
    ),
)
