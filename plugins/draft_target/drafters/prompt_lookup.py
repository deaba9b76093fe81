"""Drafting without a model: what followed the last few tokens when they occurred before."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.contract.generation import Request
from ..proposal import NOTHING, Proposal
from . import Drafter


class PromptLookup(Drafter):
    """Copy behind the latest earlier occurrence of the longest matching n-gram, in prompt and output.

    Prompt lookup decoding (A. Saxena 2023). The proposal is certain, so any rule can judge it.

    Args:
        longest, shortest: tokens of the n-grams that are looked up, the longest first.
    """

    def __init__(self, longest: int, shortest: int) -> None:
        self._sizes = range(longest, shortest - 1, -1)
        self._behind: dict[tuple[int, ...], int] = {}  # n-gram -> where the token behind its latest occurrence stands
        self._indexed = 0

    def begin(self, request: Request) -> None:
        """Forget the last generation."""
        self._behind, self._indexed = {}, 0

    def draft(self, context: Sequence[int], count: int) -> Proposal:
        """Look the end of the context up."""
        for end in range(self._indexed + 1, len(context)):  # the n-gram at the very end has nothing behind it yet
            for size in self._sizes:
                if size <= end:
                    self._behind[tuple(context[end - size : end])] = end
        self._indexed = max(self._indexed, len(context) - 1)
        for size in self._sizes:
            at = self._behind.get(tuple(context[-size:])) if size <= len(context) else None
            if at is not None:
                return Proposal((tuple(context[at : at + count]),))
        return NOTHING

    def end(self) -> None:
        """Do nothing."""
