"""SentencePiece BPE as GGUF files hold it: pieces with scores, no merges; unknown characters fall back to bytes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

SPACE = "\u2581"
"""What SentencePiece writes for a space."""


class ScoredPieces:
    """Merges the neighbouring symbols whose union has the highest score, the leftmost of several, until none is left.

    Written after ``llm_tokenizer_spm_session`` of llama.cpp, which a test holds it against.

    Args:
        ids: id of every piece.
        scores: score of every id.
        byte_ids: id of every byte.
    """

    def __init__(self, ids: Mapping[str, int], scores: Sequence[float], byte_ids: Mapping[int, int]) -> None:
        self._ids, self._scores, self._byte_ids = ids, scores, byte_ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text without special tokens, a prefix space included where it has one."""
        symbols = list(text.replace(" ", SPACE))
        after, before = [*range(1, len(symbols)), -1], list(range(-1, len(symbols) - 1))
        queue: list[tuple[float, int, int, int]] = []  # (-score, left, right, characters of both)

        def offer(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                union = symbols[left] + symbols[right]
                if (found := self._ids.get(union)) is not None:
                    heapq.heappush(queue, (-self._scores[found], left, right, len(union)))

        for right in range(1, len(symbols)):
            offer(right - 1, right)
        while queue:
            _, left, right, size = heapq.heappop(queue)
            if not symbols[left] or not symbols[right] or len(symbols[left]) + len(symbols[right]) != size:
                continue  # one of them has been merged with another since
            symbols[left], symbols[right] = symbols[left] + symbols[right], ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            offer(before[left], left)
            offer(left, after[left])
        return [token for symbol in symbols if symbol for token in self._ids_of(symbol)]

    def _ids_of(self, symbol: str) -> list[int]:
        found = self._ids.get(symbol)
        if found is not None:
            return [found]
        return [self._byte_ids[byte] for byte in symbol.encode() if byte in self._byte_ids]
