"""How weight matrices lie in memory, so that one layout serves matrix-vector and matrix-matrix products.

A matrix W [N, K] (row = output) becomes tiles [N / lanes, K, lanes]: at each k the lanes of a tile are neighbours, so
a product broadcasts one activation and multiplies it with whole vectors, for one token and for many alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

GROUP = 32
"""Weights along K that share a scale."""
WORD_BITS = 32
_LANES = (64, 32, 16)


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How one weight is stored.

    Attributes:
        bits: 32 or 16 for floating point, fewer for group quantisation.
        scale_dtype: of the scales; None for floating point.
    """

    bits: int
    scale_dtype: str | None = None

    @property
    def is_grouped(self) -> bool:
        """Whether weights are integers with a scale per group."""
        return self.scale_dtype is not None

    @property
    def dtype(self) -> str:
        """Of the stored array."""
        return "uint32" if self.is_grouped else f"float{self.bits}"

    @property
    def per_word(self) -> int:
        """Weights along K in one element of the stored array."""
        return WORD_BITS // self.bits if self.is_grouped else 1

    @property
    def max_int(self) -> int:
        """Largest magnitude of a quantised weight; stored values are shifted up by it."""
        return (1 << (self.bits - 1)) - 1

    def shapes(self, n: int, k: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the stored arrays of a matrix [n, k]: weights, then scales if there are any."""
        lanes = lanes_of(n)
        tiles = -(-n // lanes)
        words = (tiles, k // self.per_word, lanes)
        return (words, (tiles, k // GROUP, lanes)) if self.is_grouped else (words,)


def lanes_of(n: int) -> int:
    """Return the number of outputs in a tile: the widest that divides ``n``; the narrowest pads."""
    return next((lanes for lanes in _LANES if n % lanes == 0), _LANES[-1])


def tiled(matrix: np.ndarray) -> np.ndarray:
    """Return a row-major array [N, K'] as tiles [N / lanes, K', lanes], padded with zeros where N is no multiple."""
    import numpy as np

    n, k = matrix.shape
    lanes = lanes_of(n)
    if n % lanes:
        matrix = np.concatenate([matrix, np.zeros((-n % lanes, k), matrix.dtype)])
    return np.ascontiguousarray(matrix.reshape(-1, lanes, k).transpose(0, 2, 1))
