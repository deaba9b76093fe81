"""Where the tokens of one forward stand: windows over the cache that see a part of it in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.sdk.torch_layers.place import Place

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.sdk.torch_layers.rotary import Rotary


class Window(Place):
    """One row: positions start .. start + n - 1, each of which sees positions 0 .. extent - 1."""

    def __init__(self, start: int, n: int, extent: int) -> None:
        self.start, self.n, self.extent = start, n, extent

    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Slice the tables."""
        own = slice(self.start, self.start + self.n)
        return rotary.cos[own, None], rotary.sin[own, None]

    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Overwrite the slots."""
        cache[0, :, self.start : self.start + self.n] = keys
        cache[1, :, self.start : self.start + self.n] = values

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Hide nothing."""
        return None


class BlockCausal(Window):
    """One row from position 0 on, in which a token sees its own block and the ones before it."""

    def __init__(self, n: int, block: int) -> None:
        super().__init__(0, n, n)
        self._block = block

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Hide later blocks."""
        import torch

        if self.n <= self._block:
            return None
        blocks = torch.arange(self.n, device=device) // self._block
        return (blocks[:, None] >= blocks[None, :])[None]


class Windows(Place):
    """Several rows of the cache, each with a window of n tokens at a start of its own.

    Args:
        rows: which rows of the cache.
        starts: first position of each.
        n: tokens of every row; what a row has too many lies at or behind its extent, where nothing looks.
        extents: end of what each row sees.
        device: where the positions go.
    """

    def __init__(self, rows: Sequence[int], starts: Sequence[int], n: int, extents: Sequence[int], device: str) -> None:
        import torch

        self.n, self.extent = n, max(extents)
        self._rows = torch.tensor(rows, device=device)
        self._positions = torch.tensor(starts, device=device)[:, None] + torch.arange(n, device=device)  # [R, n]
        self._ends = None if min(extents) == self.extent else torch.tensor(extents, device=device)[:, None, None]

    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Gather each row's positions."""
        return rotary.cos[self._positions, None], rotary.sin[self._positions, None]

    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Scatter to each row's slots."""
        cache[0][self._rows[:, None], self._positions] = keys
        cache[1][self._rows[:, None], self._positions] = values

    def seen(self, cache: Tensor) -> Tensor:
        """Gather the rows."""
        return cache[:, self._rows, : self.extent]

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Hide from each row what lies behind its own extent."""
        import torch

        if self._ends is None:
            return None
        return (torch.arange(self.extent, device=device) < self._ends).expand(-1, self.n, -1)
