"""Multi-round sampling as the published implementation does it: the draft sees one position, a place too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.sdk.torch_layers.place import Span
from .multi_round import MultiRoundDecoder

if TYPE_CHECKING:
    from torch import Tensor


class PublishedMultiRoundDecoder(MultiRoundDecoder):
    """The draft sees the target's features of the last token only, as if they were of the position before it."""

    def _first_seen(self, start: int, features: Tensor) -> int:
        self._drafter.absorb(features, Span(start - 1, 1))
        return start - 1
