"""YaRN (Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models"), read from configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .checkpoint import is_number

_BETA_FAST, _BETA_SLOW = 32.0, 1.0


@dataclass(frozen=True, slots=True)
class Yarn:
    """The parameters of one model, worked out as transformers does.

    Attributes:
        factor: by which long wavelengths are stretched.
        original_context: positions that the model was trained for before it was stretched.
        beta_fast: rotations within the original context from which a wavelength stays as it is.
        beta_slow: rotations up to which it is stretched whole.
        attention_factor: cosines and sines are multiplied by it.
        is_truncated: whether the bounds between the two are rounded outwards to whole dimensions.
    """

    factor: float
    original_context: int
    beta_fast: float
    beta_slow: float
    attention_factor: float
    is_truncated: bool

    @classmethod
    def read(cls, rope: Mapping[str, Any], context: int, where: str) -> Yarn:
        """Read the rotary parameters of ``config.json``.

        Args:
            rope: of type yarn.
            context: the model's longest sequence in tokens.
            where: file and field, for messages.

        Raises:
            ModelError: a value is no positive number; names the field.
        """

        def number(name: str, default: float | None = None) -> float | None:
            value = rope.get(name)
            if value is None:
                return default
            if not is_number(value) or value < 0:
                raise ModelError(
                    f"{where}.{name} = {repr(value)[:80]}: expected a positive number", code="model-config-invalid"
                )
            return float(value)

        original = int(number("original_max_position_embeddings") or context) or 1
        factor = number("factor") or context / original
        mscale, mscale_all = number("mscale"), number("mscale_all_dim")
        stated = number("attention_factor")
        if stated is None and mscale and mscale_all:
            stated = _magnitude(factor, mscale) / _magnitude(factor, mscale_all)
        return cls(
            factor=factor,
            original_context=original,
            beta_fast=number("beta_fast") or _BETA_FAST,
            beta_slow=number("beta_slow") or _BETA_SLOW,
            attention_factor=_magnitude(factor) if stated is None else stated,
            is_truncated=bool(rope.get("truncate", True)),
        )

    @property
    def usual_attention_factor(self) -> float:
        """What the paper suggests for the factor."""
        return _magnitude(self.factor)


def _magnitude(factor: float, scale: float = 1.0) -> float:
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
