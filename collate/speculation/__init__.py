"""Derived figures of speculative decoding: acceptance, cycle costs, block sizes, candidates, and pairs of modes."""

from __future__ import annotations

from .analysis import analyse
from .figures import Speculation
from .pairs import pair

__all__ = ["Speculation", "analyse", "pair"]
