"""Suffix seeding: tokens that were drafted behind the first rejected one come back as hints in the next block.

The draft overwrites them all; a hint only stands where a mask would, at the position that it was drafted for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import JsonValue


class SuffixSeeder:
    """The hints of one sample.

    Args:
        mode: ``dense`` fills positions 1, 2, 3 ..., ``sparse`` every second one from 2 on; ``none`` gives no hints.
        max_tokens: at most so many hints per cycle; -1: all.
    """

    def __init__(self, mode: Literal["none", "sparse", "dense"], max_tokens: int) -> None:
        self._mode, self._max_tokens = mode, max_tokens
        self._rejected: list[int] = []
        self._available = self._seeded = 0

    def hints(self, block_size: int) -> dict[int, int]:
        """Return hints for the next block, by block position from 1 to ``block_size`` - 1."""
        self._available = len(self._rejected)
        hints: dict[int, int] = {}
        if self._mode != "none":
            positions = range(1, block_size) if self._mode == "dense" else range(2, block_size, 2)
            hints = self._placed(positions, self._rejected)
            if self._max_tokens >= 0:
                hints = dict(list(hints.items())[: self._max_tokens])
        self._seeded = len(hints)
        return hints

    def _placed(self, positions: range, rejected: Sequence[int]) -> dict[int, int]:
        """Put tokens where they were drafted for: the first one's place is now the anchor's own."""
        return {at: rejected[at] for at in positions if at < len(rejected)}

    def observe(self, block: Sequence[int], tau: int) -> None:
        """Keep what a cycle drafted and did not gain: entry p was drafted for position p of the next block."""
        self._rejected = list(block[tau:])

    def trace(self) -> Mapping[str, JsonValue]:
        """Return the counts of the last cycle, under the names of the published traces."""
        return {
            "recycled_available": self._available,
            "seeded_count": self._seeded,
            "recycled_next": len(self._rejected),
        }
