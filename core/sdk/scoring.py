"""From logits to log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..contract.generation import Scores

if TYPE_CHECKING:
    import numpy as np


def score_rows(tokens: Sequence[int], chunks: Iterator[np.ndarray], top_k: int) -> Scores:
    """Score ``tokens`` from the logits of the positions before them.

    Args:
        tokens: T ids.
        chunks: logits of positions 0 .. T-2 in order, a few rows [n, V] at a time, float32.
        top_k: how many of the most likely ids to give per position.
    """
    import numpy as np

    logprobs, is_greedy = [math.nan], [False]
    top_ids: list[list[int]] = [[]]
    top_logprobs: list[list[float]] = [[]]
    for rows in chunks:
        wide = rows.astype(np.float64)
        wide -= wide.max(axis=1, keepdims=True)
        wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))  # log-softmax
        best = rows.argmax(axis=1)  # the first, so the smallest id on a tie
        for row, greedy in zip(wide, best, strict=True):
            token = tokens[len(logprobs)]
            logprobs.append(float(row[token]))
            is_greedy.append(bool(greedy == token))
            ids = _largest(row, top_k)
            top_ids.append(ids.tolist())
            top_logprobs.append(row[ids].tolist())
    return Scores(logprobs, is_greedy, top_ids, top_logprobs)


def _largest(row: np.ndarray, k: int) -> np.ndarray:
    """Return the ids of the k largest values, largest first, smaller ids first on ties."""
    import numpy as np

    k = min(k, len(row))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(row, len(row) - k)[len(row) - k]
    candidates = np.flatnonzero(row >= threshold)
    return candidates[np.argsort(-row[candidates], kind="stable")][:k]
