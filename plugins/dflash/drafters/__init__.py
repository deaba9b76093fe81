"""What proposes the tokens of a block. A further drafter is one class in one file here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.sdk.torch_layers.place import Place


class Drafter(ABC):
    """Fills the masks of blocks in.

    Attributes:
        taps: target layers whose outputs it wants to see of every committed token.
        mask_token_id: id that stands for a position to be drafted.
        block_size: block length that it was made for, anchor included.
    """

    taps: Sequence[int]
    mask_token_id: int
    block_size: int

    @abstractmethod
    def reserve(self, rows: int, positions: int) -> None:
        """Make room for sequences; called before the first of them begins."""

    @abstractmethod
    def absorb(self, features: Tensor, place: Place, row: int | None = None) -> None:
        """Take note of committed positions.

        Args:
            features: outputs of the tapped layers side by side, [R, c, taps x width].
            place: where these positions are.
            row: the one sequence that they belong to; None: the first R.
        """

    @abstractmethod
    def logits(self, blocks: Tensor, place: Place) -> Tensor:
        """Predict blocks.

        Args:
            blocks: [R, b] ids: the anchor, then masks or hints.
            place: where the blocks stand.

        Returns:
            Logits for block positions 1 .. b - 1, [R, b - 1, V].
        """

    @abstractmethod
    def move_row(self, source: int, target: int, length: int) -> None:
        """Put a sequence, ``length`` positions long, into the place of another that has ended."""
