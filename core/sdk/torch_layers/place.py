"""Where the tokens of one forward stand: their cache slots, their positions and what each may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .rotary import Rotary


class Place(ABC):
    """The place of n tokens in each of R rows.

    Attributes:
        extent: cache slots 0 .. extent - 1 may be looked at by some token.
        first: slots before this one are hidden from all tokens.
    """

    extent: int
    first: int = 0

    @abstractmethod
    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, [n, 1, head_dim] or [R, n, 1, head_dim]."""

    @abstractmethod
    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Write keys and values [R, n, kv heads, head_dim] into one layer's cache [2, rows, positions, ...]."""

    def seen(self, cache: Tensor) -> Tensor:
        """Return the keys and values of one layer that may be looked at, [2, R, extent - first, kv heads, head_dim]."""
        return cache[:, :, self.first : self.extent]

    @abstractmethod
    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Return who may look at whom, [R or 1, n, extent - first] of bool; None where everybody sees all of it.

        Args:
            device: where the mask goes.
            is_causal: a token sees no token behind it (in a tree: only its ancestors).
            window: a token sees at most so many positions back, itself included, and as many ahead where it may.
        """


class Span(Place):
    """One row: slots and positions start .. start + n - 1."""

    def __init__(self, start: int, n: int, first: int = 0) -> None:
        self.start, self.n, self.first = start, n, first
        self.extent = start + n

    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Slice the tables."""
        return rotary.cos[self.start : self.extent, None], rotary.sin[self.start : self.extent, None]

    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Copy into the slots, in every row of the cache."""
        cache[0, :, self.start : self.extent] = keys
        cache[1, :, self.start : self.extent] = values

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Hide later tokens of the span, and what lies before the window."""
        import torch

        needs_window = window is not None and self.extent - self.first > window
        if not needs_window and (not is_causal or self.n == 1):
            return None
        seen = torch.ones(self.n, self.extent - self.first, dtype=torch.bool, device=device)
        if is_causal:
            seen = seen.tril(self.start - self.first)
        if needs_window and window is not None:
            seen = seen.triu(self.start - self.first - window + 1).tril(self.start - self.first + window - 1)
        return seen[None]


class Rows(Place):
    """Several rows, each with a start and a length of its own; what a shorter row has too much is hidden from it.

    Args:
        starts: first slot and position of each row.
        lengths: how many of the n tokens of each row count.
        device: where the positions go.
    """

    def __init__(self, starts: Sequence[int], lengths: Sequence[int], device: str) -> None:
        import torch

        self.starts, self.n = tuple(starts), max(lengths)
        self.extent = max(starts) + self.n
        self._positions = torch.tensor(starts, device=device)[:, None] + torch.arange(self.n, device=device)  # [R, n]
        self._rows = torch.arange(len(starts), device=device)[:, None]
        self._ends = torch.tensor([s + n for s, n in zip(starts, lengths, strict=True)], device=device)[:, None, None]

    def angles(self, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Gather each row's positions."""
        return rotary.cos[self._positions, None], rotary.sin[self._positions, None]

    def store(self, cache: Tensor, keys: Tensor, values: Tensor) -> None:
        """Scatter to each row's slots."""
        cache[0][self._rows, self._positions] = keys
        cache[1][self._rows, self._positions] = values

    def mask(self, device: str, *, is_causal: bool, window: int | None) -> Tensor | None:
        """Show each row its own past and block."""
        import torch

        slots = torch.arange(self.extent, device=device)  # [K]
        own = self._positions[:, :, None]  # [R, n, 1]
        seen = slots <= own if is_causal else slots < self._ends.expand(-1, self.n, -1)
        return seen if window is None else seen & ((slots - own).abs() < window)
