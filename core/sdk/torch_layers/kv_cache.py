"""Keys and values of a whole network in one tensor that is allocated once; cropping it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .stack import StackShape

_GRAIN = 256  # positions come in multiples of this, so that one allocation serves many samples


class KeyValueCache:
    """Room for ``rows`` sequences. What lies at or behind a sequence's length is rubbish: its owner knows the length.

    Attributes:
        data: [layers, 2 (keys, values), rows, positions, kv heads, head_dim].
    """

    def __init__(self, shape: StackShape, dtype: torch.dtype, device: str) -> None:
        import torch

        self._shape, self._dtype, self._device = shape, dtype, device
        self.data: Tensor = torch.empty(shape.layers, 2, 0, 0, shape.kv_heads, shape.head_dim)

    def reserve(self, rows: int, positions: int) -> None:
        """Make room; what was there is lost when it has to grow."""
        import torch

        _, _, have_rows, have_positions, *_ = self.data.shape
        if rows <= have_rows and positions <= have_positions:
            return
        room = -(-positions // _GRAIN) * _GRAIN
        shape = self._shape
        # Zeros, not garbage: a masked position still enters a product with weight 0, where NaN would stay NaN.
        self.data = torch.zeros(
            (shape.layers, 2, max(rows, have_rows), max(room, have_positions), shape.kv_heads, shape.head_dim),
            dtype=self._dtype,
            device=self._device,
        )

    def grow(self, positions: int) -> None:
        """Make room for more positions and keep what is there; room at least doubles, so that growing stays cheap."""
        before = self.data
        if positions <= before.shape[3]:
            return
        self.reserve(max(1, before.shape[2]), max(positions, 2 * before.shape[3]))
        self.data[:, :, : before.shape[2], : before.shape[3]] = before

    def add_rows(self, rows: int) -> None:
        """Make room for more sequences and keep those that are there; the number at least doubles."""
        before = self.data
        if rows <= before.shape[2]:
            return
        self.reserve(max(rows, 2 * before.shape[2]), max(1, before.shape[3]))
        self.data[:, :, : before.shape[2], : before.shape[3]] = before

    def rows(self, count: int, first: int = 0) -> Tensor:
        """Return a view of ``count`` sequences."""
        return self.data[:, :, first : first + count]

    def move_row(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of a sequence over those of another."""
        self.data[:, :, target, :length] = self.data[:, :, source, :length]

    def gather(self, row: int, positions: list[int], start: int) -> None:
        """Put the given positions of a sequence side by side, from ``start`` on."""
        self.data[:, :, row, start : start + len(positions)] = self.data[:, :, row, positions]
