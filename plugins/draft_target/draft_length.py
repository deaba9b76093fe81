"""How many tokens the next draft has."""

from __future__ import annotations


class DraftLength:
    """K, fixed or following the acceptance.

    Args:
        start: tokens of the first draft.
        most: the longest draft when it adapts; None keeps ``start``.
    """

    def __init__(self, start: int, most: int | None = None) -> None:
        self.tokens, self._most = start, most

    def observe(self, drafted: int, accepted: int) -> None:
        """Grow by one after a draft that was accepted whole, else shrink to one more than was accepted."""
        if self._most is None or not drafted:
            return
        if accepted < drafted:
            self.tokens = min(self.tokens, accepted + 1)
        elif drafted >= self.tokens:  # one that was cut short says nothing of a longer one
            self.tokens = min(self.tokens + 1, self._most)
