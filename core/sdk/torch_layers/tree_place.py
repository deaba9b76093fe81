"""Where the nodes of a candidate tree stand: slots side by side, positions by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .place import Place

if TYPE_CHECKING:
    from torch import Tensor

    from .rotary import Rotary


class Tree(Place):
    """One row: nodes in slots from ``start`` on; positions by depth; a node sees the past and its ancestors."""

    def __init__(self, start: int, depths: Sequence[int], ancestors: Tensor) -> None:
        self.start, self._depths, self._ancestors = start, depths, ancestors
        self.extent = start + len(depths)

    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Gather by depth."""
        import torch

        positions = torch.tensor([self.start + depth for depth in self._depths], device=rotary.cos.device)
        return rotary.cos[positions, None], rotary.sin[positions, None]

    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Copy into the slots."""
        cache[0, :, self.start : self.extent] = keys
        cache[1, :, self.start : self.extent] = values

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Show the past and the ancestors."""
        import torch

        assert is_causal and window is None, "a tree is verified by the target, which is causal over everything"
        past = torch.ones(len(self._depths), self.start, dtype=torch.bool, device=device)
        return torch.cat([past, self._ancestors.to(device)], dim=1)[None]
