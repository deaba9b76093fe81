"""Group quantisation as MLC stores it (formats ending in ``_1``): groups of 32 along the input, symmetric.

A group's scale is its largest magnitude over ``max_int``; a weight is stored as round(w / scale) + max_int, little end
first in words of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .relax.layout import GROUP, WeightFormat

if TYPE_CHECKING:
    import numpy as np


def quantise(matrix: np.ndarray, form: WeightFormat) -> tuple[np.ndarray, np.ndarray]:
    """Quantise a float32 matrix [N, K]; K is a multiple of 32.

    Returns:
        words [N, K / (32 / bits)] in uint32 and scales [N, K / 32] in the format's scale dtype.
    """
    import numpy as np

    n, k = matrix.shape
    groups = matrix.reshape(n, k // GROUP, GROUP)
    scales = (np.abs(groups).max(axis=-1) / form.max_int).astype(form.scale_dtype)
    wide = scales.astype(np.float32)[..., None]
    steps = np.divide(groups, wide, out=np.zeros_like(groups), where=wide > 0)
    stored = np.clip(np.rint(steps) + form.max_int, 0, 2 * form.max_int).astype(np.uint32)
    parts = stored.reshape(n, k // form.per_word, form.per_word)
    shifts = np.arange(form.per_word, dtype=np.uint32) * np.uint32(form.bits)
    return np.bitwise_or.reduce(parts << shifts, axis=-1), scales
