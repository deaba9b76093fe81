"""Weights that a Hugging Face folder holds quantised, as its ``config.json`` says: MLX's, GPTQ, AWQ and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PACKED = ("awq", "gptq")
_FLOATS = ("mxfp4", "mxfp8")


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """How weights are stored.

    Attributes:
        method: what made them: ``"MLX"``, or ``quant_method`` in lower case; ``"unknown"`` where none is named.
        bits: of a weight, without its scale; None where that is not stated.
        mode: MLX's number format, such as ``"affine"`` or ``"mxfp4"``; None for what MLX has not made.
    """

    method: str
    bits: int | None = None
    mode: str | None = None

    @property
    def words(self) -> str:
        """Return it for people."""
        kind = self.method if self.mode in (None, "affine") else f"{self.method} {self.mode}"
        return kind if self.bits is None else f"{kind}, {self.bits} bits"

    @property
    def format(self) -> str | None:
        """Return the name of a weight format that stores weights alike, such as ``"4bit"``; None where none does."""
        if self.mode not in (None, "affine"):
            return self.mode
        if self.method in _FLOATS:
            return self.method
        return f"{self.bits}bit" if self.bits and (self.mode or self.method in _PACKED) else None


def stored_weights(config: Mapping[str, object]) -> StoredWeights | None:
    """Return how a configuration says that its weights are quantised; None where they are not.

    MLX writes its own settings under both names, others a method under the second, also for a part of the model.
    """
    own = config.get("quantization")
    if isinstance(own, Mapping) and (bits := _count(own.get("bits"))):
        return StoredWeights("MLX", bits, str(own.get("mode") or "affine"))
    for part in (config, config.get("text_config")):
        found = part.get("quantization_config") if isinstance(part, Mapping) else None
        if found:
            stated: Mapping[str, object] = found if isinstance(found, Mapping) else {}
            bits = _count(stated.get("bits")) or _count(stated.get("w_bit"))
            bits = bits or (4 if stated.get("load_in_4bit") else None)
            return StoredWeights(str(stated.get("quant_method") or "unknown").lower(), bits)
    return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
