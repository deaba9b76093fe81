"""The number formats of GGUF tensors: how many weights a block has, and how many bytes.

From the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md) and ``ggml-common.h``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorType:
    """A number format.

    Attributes:
        name: in lower case, such as ``"q4_k"``.
        block: weights of a block; the rows of a tensor are whole blocks.
        block_bytes: size of a block, scales included.
    """

    name: str
    block: int
    block_bytes: int

    def nbytes(self, elements: int) -> int:
        """Return the bytes of so many weights, which are whole blocks."""
        return elements // self.block * self.block_bytes


_TABLE = """
0 f32 1 4 | 1 f16 1 2 | 30 bf16 1 2 | 28 f64 1 8 | 24 i8 1 1 | 25 i16 1 2 | 26 i32 1 4 | 27 i64 1 8
2 q4_0 32 18 | 3 q4_1 32 20 | 6 q5_0 32 22 | 7 q5_1 32 24 | 8 q8_0 32 34 | 9 q8_1 32 40
10 q2_k 256 84 | 11 q3_k 256 110 | 12 q4_k 256 144 | 13 q5_k 256 176 | 14 q6_k 256 210 | 15 q8_k 256 292
40 nvfp4 64 36 | 41 q1_0 128 18
16 iq2_xxs 256 66 | 17 iq2_xs 256 74 | 18 iq3_xxs 256 98 | 19 iq1_s 256 50 | 20 iq4_nl 32 18 | 21 iq3_s 256 110
22 iq2_s 256 82 | 23 iq4_xs 256 136 | 29 iq1_m 256 56 | 34 tq1_0 256 54 | 35 tq2_0 256 66 | 39 mxfp4 32 17
"""

TENSOR_TYPES: dict[int, TensorType] = {
    int(number): TensorType(name, int(block), int(size))
    for number, name, block, size in (entry.split() for entry in _TABLE.replace("\n", "|").split("|") if entry.strip())
}
"""By the number that stands in the file."""
