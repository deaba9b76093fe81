"""The drafter of DFlash: one forward of the draft network fills the whole block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.sdk.torch_layers.place import Place
from ..draft import Draft
from ..target import Target
from . import Drafter

if TYPE_CHECKING:
    from torch import Tensor


class BlockDiffusionDrafter(Drafter):
    """A draft network that borrows the target's embedding and head."""

    def __init__(self, draft: Draft, target: Target) -> None:
        self._draft, self._target = draft, target
        self.taps = draft.config.target_layer_ids
        self.mask_token_id = draft.config.mask_token_id
        self.block_size = draft.config.block_size

    def reserve(self, rows: int, positions: int) -> None:
        """Make room in the draft's cache."""
        self._draft.reserve(rows, positions)

    def absorb(self, features: Tensor, place: Place, row: int | None = None) -> None:
        """Turn the features into keys and values of every draft layer."""
        cache = None if row is None else self._draft.cache.rows(1, row)
        self._draft.absorb(features, place, cache)

    def logits(self, blocks: Tensor, place: Place) -> Tensor:
        """Run the draft on the embedded blocks."""
        return self._target.logits(self._draft.forward(self._target.embed(blocks), place))

    def move_row(self, source: int, target: int, length: int) -> None:
        """Move the row of the draft's cache."""
        self._draft.cache.move_row(source, target, length)
