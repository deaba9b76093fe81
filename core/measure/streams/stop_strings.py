"""Looking for stop strings in rows while others run: a few tokens are decoded per step, not the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from ...contract.generation import Step
from ..rows import Decode, Row, cut_at_stop

_MARGIN = 8  # tokens before those that could hold a stop string: a decoder may join or strip spaces at the beginning


class StopStrings:
    """Ends rows at the first stop string in their text.

    Args:
        stop: the strings.
        decode: of ids that follow others.
    """

    def __init__(self, stop: Sequence[str], decode: Decode) -> None:
        self._stop, self._decode = stop, decode
        self._window = max(len(text.encode()) for text in stop) + _MARGIN  # a token is at least one byte

    def cuts(self, row: Row, step: Step) -> bool:
        """Cut a row that holds a stop string since its last step; return whether it did."""
        if step.text is None and not row.is_placed:
            text = self._decode(row.last_ids(self._window + len(step.token_ids)))
            if not any(one in text for one in self._stop):
                return False
            row.looked_at = max(0, sum(len(one.token_ids) for _, one in row.steps) - len(step.token_ids))
        cut_at_stop(row, self._stop, self._decode)
        return row.is_cut
