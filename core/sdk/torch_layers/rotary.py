"""Rotary position embedding as two tables, made once for as many positions as a sample needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..decoder_config import DecoderConfig, rope_divisors, rope_type

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_KNOWN = ("default", "linear", "llama3", "yarn")
_YARN = (
    "factor",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
)


def check_rotary(config: DecoderConfig, file: str) -> None:
    """Raise ``ModelError`` when a checkpoint scales its rotary embedding in a way that is not known here."""
    kind = rope_type(config.rope)
    if kind not in _KNOWN:
        raise ModelError(
            f"{file}: rotary scaling {kind!r} is not supported; known: {', '.join(_KNOWN)}", code="model-unsupported"
        )
    if kind != "yarn":
        return
    for name in _YARN:
        value = config.rope.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise ModelError(
                f"{file}: yarn's {name} = {value!r}: must be a number above 0", code="model-config-invalid"
            )
    if config.rope_theta <= 1:
        raise ModelError(
            f"{file}: rope_theta = {config.rope_theta!r}: yarn needs a base above 1", code="model-config-invalid"
        )


class Rotary:
    """Cosines and sines of positions 0 .. ``length`` - 1, each [length, head_dim]; grows on demand.

    The sines of the first half are negated, so that a rotation is ``x * cos + swapped_halves(x) * sin``.
    """

    def __init__(self, config: DecoderConfig, dtype: torch.dtype, device: str) -> None:
        import torch

        self._scale = 1.0  # of cosines and sines
        # In float32 whatever the weights are, as Hugging Face computes it.
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
        frequencies = 1.0 / (config.rope_theta**exponents)
        divisors = rope_divisors(config.rope, config.rope_theta, config.head_dim)
        if divisors is not None:
            frequencies = frequencies / torch.from_numpy(divisors)
        if rope_type(config.rope) == "linear":
            frequencies = frequencies / float(config.rope["factor"])
        if rope_type(config.rope) == "yarn":
            frequencies, self._scale = _yarn(config, frequencies)
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
        self.cos = (both.cos() * self._scale).to(self._device, self._dtype)
        self.sin = (both.sin() * sign * self._scale).to(self._device, self._dtype)


def _yarn(config: DecoderConfig, frequencies: Tensor) -> tuple[Tensor, float]:
    """Stretch frequencies [head_dim / 2] as YaRN does (arXiv 2309.00071, section 3.2), and return the table's scale.

    Frequencies that turn often within the original context stay, slow ones are divided by ``factor``, with a ramp
    between ``beta_fast`` and ``beta_slow`` turns. Fields and defaults are those of transformers.
    """
    import torch

    rope, half = config.rope, len(frequencies)
    original = float(rope.get("original_max_position_embeddings") or config.context)
    factor = float(rope["factor"] or config.context / original)

    def place(turns: float) -> float:
        """Return the index of the frequency that turns so often within the original context."""
        return half * math.log(original / (turns * 2 * math.pi)) / math.log(config.rope_theta)

    low, high = place(float(rope.get("beta_fast") or 32)), place(float(rope.get("beta_slow") or 1))
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    ramp = (torch.arange(half, dtype=torch.float32) - low) / (high - low if high != low else 0.001)
    stretched = ramp.clamp(0, 1)
    return frequencies / factor * stretched + frequencies * (1 - stretched), _yarn_scale(config, factor)


def _yarn_scale(config: DecoderConfig, factor: float) -> float:
    def term(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1

    rope = config.rope
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return term(float(rope["mscale"])) / term(float(rope["mscale_all_dim"]))
    return term(1.0)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate [..., heads, head_dim] by tables [..., 1, head_dim]."""
    import torch

    first, second = heads.chunk(2, dim=-1)
    return torch.addcmul(heads * cos, torch.cat([second, first], dim=-1), sin)
