"""Weight matrices in tinygrad's formats: how they are packed, and how a kernel unpacks them as it multiplies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING

from ... import ModelError

if TYPE_CHECKING:
    import numpy as np
    from tinygrad import Tensor

NF4_BLOCK = 64
# The 16 quantiles of the normal distribution of QLoRA (Dettmers et al. 2023, appendix E).
NF4_VALUES = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


class Matrix(ABC):
    """A packed matrix [rows, columns]; the attributes that are tensors are what occupies memory.

    Args:
        weights: [rows, columns] float32.

    Raises:
        ModelError: the matrix cannot be packed in this format.
    """

    @abstractmethod
    def __init__(self, weights: np.ndarray) -> None: ...

    @staticmethod
    @abstractmethod
    def nbytes(rows: int, columns: int) -> int:
        """Return how many bytes a matrix takes, scales included."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor:
        """Return x W^T: [..., columns] -> [..., rows]."""

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """Return the rows ``ids`` [...] in float32, [..., columns]."""


class Float32(Matrix):
    """Single precision."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = _tensor(weights)

    @staticmethod
    def nbytes(rows: int, columns: int) -> int:
        """Return 4 bytes a weight."""
        return 4 * rows * columns

    def product(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x.linear(self._weights.transpose())

    def rows(self, ids: Tensor) -> Tensor:
        """Look rows up."""
        return self._weights[ids]


class Float16(Matrix):
    """Half precision, widened to float32 before it is multiplied."""

    def __init__(self, weights: np.ndarray) -> None:
        import numpy as np

        largest = float(np.abs(weights).max(initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            raise ModelError(f"holds {largest:g}, beyond float16; use float32 instead", code="quantisation-unsupported")
        self._weights = _halves(weights.astype(np.float16))

    @staticmethod
    def nbytes(rows: int, columns: int) -> int:
        """Return 2 bytes a weight."""
        return 2 * rows * columns

    def product(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x.linear(_widened(self._weights).transpose())

    def rows(self, ids: Tensor) -> Tensor:
        """Look rows up."""
        return _widened(self._weights[ids])


class RowScaled(Matrix):
    """One byte a weight and one float32 scale a row, with which the largest weight of the row gets the largest code."""

    _codes: Tensor
    _scales: Tensor

    @staticmethod
    def nbytes(rows: int, columns: int) -> int:
        """Return a byte a weight and 4 a row."""
        return rows * columns + 4 * rows

    def product(self, x: Tensor) -> Tensor:
        """Multiply with the codes, then scale each output."""
        return x.linear(self._codes.float().transpose()) * self._scales

    def rows(self, ids: Tensor) -> Tensor:
        """Look rows up."""
        return self._codes[ids].float() * self._scales[ids].unsqueeze(-1)


class Int8(RowScaled):
    """Symmetric int8, codes from -127 to 127."""

    def __init__(self, weights: np.ndarray) -> None:
        import numpy as np

        scales = _row_scales(weights, 127.0)
        self._codes = _tensor(np.rint(weights / scales[:, None]).astype(np.int8))
        self._scales = _tensor(scales)


class Fp8(RowScaled):
    """float8 e4m3, codes from -448 to 448; rounded here, since tinygrad's own cast rounds twice, first to half."""

    def __init__(self, weights: np.ndarray) -> None:
        from tinygrad import dtypes

        scales = _row_scales(weights, 448.0)
        self._codes = _tensor(_e4m3(weights / scales[:, None])).bitcast(dtypes.fp8e4m3).realize()
        self._scales = _tensor(scales)


class Nf4(Matrix):
    """NormalFloat4: 16 fixed values times the largest magnitude of a block of 64.

    Byte j of a block holds the codes of weights j (low half) and j + 32 (high half), so that both halves multiply
    runs of neighbouring activations.
    """

    def __init__(self, weights: np.ndarray) -> None:
        import numpy as np

        rows, columns = weights.shape
        if columns % NF4_BLOCK:
            raise ModelError(
                f"has rows of {columns} weights; nf4 packs blocks of {NF4_BLOCK}", code="quantisation-unsupported"
            )
        blocks = weights.reshape(rows, columns // NF4_BLOCK, NF4_BLOCK)
        scales = np.abs(blocks).max(axis=-1).astype(np.float16)
        divisors = np.where(scales == 0, 1, scales).astype(np.float32)
        values = np.array(NF4_VALUES, dtype=np.float32)
        midpoints = (values[1:] + values[:-1]) / 2  # the nearest value lies on one side of it
        codes = np.empty(blocks.shape, dtype=np.uint8)
        for row in range(rows):  # one at a time, since searchsorted returns 8 bytes a weight
            codes[row] = np.searchsorted(midpoints, blocks[row] / divisors[row, :, None])
        half = NF4_BLOCK // 2
        self._codes = _tensor(codes[..., :half] | codes[..., half:] << 4)  # [rows, blocks, 32]
        self._scales = _halves(scales)  # [rows, blocks]

    @staticmethod
    def nbytes(rows: int, columns: int) -> int:
        """Return half a byte a weight and 2 bytes a block."""
        return rows * columns // 2 + 2 * rows * columns // NF4_BLOCK

    def product(self, x: Tensor) -> Tensor:
        """Multiply both halves of the blocks in one sum."""
        halves = x.reshape(*x.shape[:-1], 1, -1, 2, NF4_BLOCK // 2)
        low, high = self._values(self._codes)
        scales = _widened(self._scales).unsqueeze(-1)
        return ((halves[..., 0, :] * low + halves[..., 1, :] * high) * scales).sum((-1, -2))

    def rows(self, ids: Tensor) -> Tensor:
        """Look rows up."""
        low, high = self._values(self._codes[ids])
        blocks = low.cat(high, dim=-1) * _widened(self._scales[ids]).unsqueeze(-1)
        return blocks.reshape(*ids.shape, -1)

    def _values(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of the low and the high halves of the bytes."""
        values = _nf4_values(codes.device)
        return values[codes.bitwise_and(15)], values[codes.rshift(4)]


class Linear:
    """Takes the place of ``tinygrad.nn.Linear``."""

    def __init__(self, matrix: Matrix, bias: Tensor | None) -> None:
        self.matrix, self.bias = matrix, bias

    def __call__(self, x: Tensor) -> Tensor:
        """Apply: [..., columns] -> [..., rows]."""
        product = self.matrix.product(x)
        return product if self.bias is None else product + self.bias


class Embedding:
    """Takes the place of ``tinygrad.nn.Embedding``."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def __call__(self, ids: Tensor) -> Tensor:
        """Look up: [...] -> [..., columns]."""
        return self.matrix.rows(ids)


FORMATS: dict[str, type[Matrix]] = {"float32": Float32, "float16": Float16, "int8": Int8, "nf4": Nf4, "fp8": Fp8}


@cache
def _nf4_values(device: str) -> Tensor:
    """Return the table of values on a device, one for all matrices."""
    import numpy as np
    from tinygrad import Tensor

    return Tensor(np.array(NF4_VALUES, dtype=np.float32), device=device).realize()


def _tensor(values: np.ndarray) -> Tensor:
    """Copy an array to the device."""
    import numpy as np
    from tinygrad import Tensor

    return Tensor(np.ascontiguousarray(values)).realize()


def _row_scales(weights: np.ndarray, largest: float) -> np.ndarray:
    """Return what a code of 1 stands for in each row, [rows]; 1 for a row of zeros."""
    import numpy as np

    peaks = np.abs(weights).max(axis=1)
    return np.where(peaks == 0, 1.0, peaks / largest).astype(np.float32)


def _e4m3(values: np.ndarray) -> np.ndarray:
    """Return the nearest float8 e4m3 numbers as bytes; values reach from -448 to 448."""
    import numpy as np

    magnitudes = np.abs(values)
    exponents = np.where(magnitudes < 2.0**-6, -6, np.frexp(magnitudes)[1] - 1)  # subnormal numbers have the least
    eighths = np.rint(np.ldexp(magnitudes, 3 - exponents))  # 8 to 16, below 8 for subnormal numbers
    codes = (exponents + 7) * 8 + eighths.astype(np.int32) - 8
    signs = np.where(np.signbit(values), 0x80, 0)
    return np.asarray(codes | signs, dtype=np.uint8)


def _halves(values: np.ndarray) -> Tensor:
    """Copy a float16 array [..., n] to the device; on the CPU as bytes, [..., 2 n].

    From bytes clang makes conversions of whole vectors, from halves one at a time, which takes four times as long.
    """
    import numpy as np
    from tinygrad import Device

    return _tensor(values.view(np.uint8) if Device.DEFAULT == "CPU" else values)


def _widened(halves: Tensor) -> Tensor:
    """Return what ``_halves`` stored as float32, [..., n]."""
    from tinygrad import dtypes

    return halves.bitcast(dtypes.float16).float()
