"""Drafters: who proposes what the target verifies.

To add one, derive from ``Drafter``, give it a name in ``options.DrafterName`` and build it in ``backend``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ....core.contract.generation import Request
from ..proposal import Proposal


class Drafter(ABC):
    """Proposes continuations; one generation at a time."""

    @abstractmethod
    def begin(self, request: Request) -> None:
        """Start a generation."""

    def fill(self, context: Sequence[int]) -> None:  # noqa: B027 - nothing to evaluate is a valid answer
        """Evaluate what the prompt begins with, before anything is timed."""

    @abstractmethod
    def draft(self, context: Sequence[int], count: int) -> Proposal:
        """Propose up to ``count`` tokens behind ``context``.

        Of the last two calls at most the later one had a context that this one does not begin with: it was a guess.
        """

    @abstractmethod
    def end(self) -> None:
        """End the generation."""
