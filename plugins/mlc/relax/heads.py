"""Shape of an attention layer, and of the pages of its KV cache.

A page holds ``PAGE`` positions of one head; keys lie in it transposed, [head_dim][PAGE], so that a vector holds one
feature of all its positions and scores need no sum across lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 16
"""Positions of a page, and queries that a vector holds."""
MASKED = -1e30
"""Score of what a query may not see."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Shape of an attention layer."""

    queries: int
    keys: int
    dim: int

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.queries // self.keys
