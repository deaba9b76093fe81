"""A drafter whose acceptance is set: it knows the continuation and is wrong as often as it is told to be.

It serves to prove that no draft can change a greedy output, and to measure what a block costs at a given acceptance.
Around another drafter it does all of that one's work first, so that the cost of a cycle is the real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from ....core.sdk.torch_layers.place import Place, Span
from . import Drafter

if TYPE_CHECKING:
    from torch import Tensor

_SURE = 10.0


class ScriptedDrafter(Drafter):
    """Draft from a script, batch size 1.

    Args:
        script: prompt and continuation; positions behind its end are drafted at random.
        acceptance: probability that a drafted token is the script's; 1 is always right, 0 always wrong. Whether it is
            depends on the seed and the position alone, so that every block size meets the same errors.
        vocabulary: number of ids.
        seed: of the errors.
        inner: a drafter whose work is done and whose answer is dropped.
        taps: as for any drafter; the inner one's where there is one.
    """

    def __init__(
        self,
        script: Sequence[int],
        acceptance: float,
        vocabulary: int,
        *,
        seed: int = 0,
        inner: Drafter | None = None,
        taps: Sequence[int] = (),
    ) -> None:
        self._script, self._acceptance, self._vocabulary = list(script), acceptance, vocabulary
        self._seed, self._inner = seed, inner
        self.taps = inner.taps if inner else taps
        self.mask_token_id = inner.mask_token_id if inner else 0
        self.block_size = inner.block_size if inner else 16

    def reserve(self, rows: int, positions: int) -> None:
        """Let the inner drafter make room."""
        if self._inner:
            self._inner.reserve(rows, positions)

    def absorb(self, features: Tensor, place: Place, row: int | None = None) -> None:
        """Let the inner drafter see the features."""
        if self._inner:
            self._inner.absorb(features, place, row)

    def logits(self, blocks: Tensor, place: Place) -> Tensor:
        """Return logits that are sure of the scripted tokens, or of wrong ones."""
        import torch

        if self._inner:
            self._inner.logits(blocks, place)
        assert isinstance(place, Span) and len(blocks) == 1, "a script is of one sequence"
        ids = [self.token(place.start + offset) for offset in range(1, blocks.shape[1])]
        logits = torch.zeros(1, len(ids), self._vocabulary, device=blocks.device)
        return logits.scatter_(-1, torch.tensor(ids, device=blocks.device)[None, :, None], _SURE)

    def token(self, position: int) -> int:
        """Return what is drafted for a position."""
        chance = Random(f"{self._seed}:{position}")
        if position < len(self._script):
            right = self._script[position]
            if chance.random() < self._acceptance:
                return right
            return (right + 1 + chance.randrange(self._vocabulary - 1)) % self._vocabulary
        return chance.randrange(self._vocabulary)

    def move_row(self, source: int, target: int, length: int) -> None:
        """Do nothing: a script is of one sequence."""
