"""Scoring with an embedded target: continuations of one prompt, one after another in one sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...core.sdk.scoring import SCORED_AT_ONCE
from .models import CausalModel, TokenSequence

if TYPE_CHECKING:
    from torch import Tensor


class TargetScoring:
    """One sequence of the target, see ``core.sdk.scoring.ScoringEngine``; a context manager, which ends it."""

    def __init__(self, target: CausalModel, positions: int) -> None:
        self._sequence: TokenSequence = target.begin(positions)
        self._length = 0  # of the prompt

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> Tensor:
        """Evaluate a prompt; return the logits behind its last id, [1, V]."""
        self._length, self._last = len(prompt_ids), prompt_ids[-1]
        return self._feed(prompt_ids, logits=1)

    def behind(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Evaluate ids behind the prompt alone; yield the logits behind each, [n, V] in chunks."""
        self._sequence.crop(self._length)
        for start in range(0, len(ids), SCORED_AT_ONCE):
            yield self._feed(ids[start : start + SCORED_AT_ONCE])

    def together(self, rows: Sequence[Sequence[int]]) -> Sequence[Tensor]:
        """Evaluate rows behind the prompt as candidates, whose anchor is its last id; shorter ones are padded."""
        import torch

        longest = max(map(len, rows))
        self._sequence.crop(self._length - 1)
        with torch.inference_mode():
            logits = self._sequence.feed_candidates(self._last, [[*row, *[0] * (longest - len(row))] for row in rows])
            self._sequence.keep(0, 0)
        return [found[1 : 1 + len(row)] for row, found in zip(rows, logits, strict=True)]

    def _feed(self, ids: Sequence[int], logits: int | None = None) -> Tensor:
        import torch

        with torch.inference_mode():
            return self._sequence.feed(ids, logits=logits)

    def __enter__(self) -> TargetScoring:
        return self

    def __exit__(self, *_: object) -> None:
        self._sequence.close()
