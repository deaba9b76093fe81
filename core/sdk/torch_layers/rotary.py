"""Rotary position embedding as two tables, made once for as many positions as a sample needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ModelError
from ..decoder_config import DecoderConfig, rope_divisors, rope_type

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_KNOWN = ("default", "linear", "llama3")


def check_rotary(config: DecoderConfig, file: str) -> None:
    """Raise ``ModelError`` when a checkpoint scales its rotary embedding in a way that is not known here."""
    kind = rope_type(config.rope)
    if kind not in _KNOWN:
        raise ModelError(f"{file}: rotary scaling {kind!r} is not supported; known: {', '.join(_KNOWN)}")


class Rotary:
    """Cosines and sines of positions 0 .. ``length`` - 1, each [length, head_dim]; grows on demand.

    The sines of the first half are negated, so that a rotation is ``x * cos + swapped_halves(x) * sin``.
    """

    def __init__(self, config: DecoderConfig, dtype: torch.dtype, device: str) -> None:
        import torch

        # In float32 whatever the weights are, as Hugging Face computes it.
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
        frequencies = 1.0 / (config.rope_theta**exponents)
        divisors = rope_divisors(config.rope, config.rope_theta, config.head_dim)
        if divisors is not None:
            frequencies = frequencies / torch.from_numpy(divisors)
        if rope_type(config.rope) == "linear":
            frequencies = frequencies / float(config.rope["factor"])
        self._frequencies, self._dtype, self._device = frequencies, dtype, device
        self.cos: Tensor
        self.sin: Tensor
        self.reserve(1)

    def reserve(self, length: int) -> None:
        """Make the tables at least ``length`` positions long."""
        import torch

        if hasattr(self, "cos") and len(self.cos) >= length:
            return
        angles = torch.arange(length, dtype=torch.float32)[:, None] * self._frequencies
        both = torch.cat([angles, angles], dim=-1)
        sign = torch.ones(both.shape[-1])
        sign[: both.shape[-1] // 2] = -1.0
        self.cos = both.cos().to(self._device, self._dtype)
        self.sin = (both.sin() * sign).to(self._device, self._dtype)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate [..., heads, head_dim] by tables [..., 1, head_dim]."""
    import torch

    first, second = heads.chunk(2, dim=-1)
    return torch.addcmul(heads * cos, torch.cat([second, first], dim=-1), sin)
