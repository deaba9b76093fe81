"""Scoring behind a shared prompt: which positions get logits, how much is in memory, what is refused."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from decodebench.core.sdk.scoring import SCORED_AT_ONCE, score_behind, score_rows, score_whole

VOCABULARY = 20_000


class Counting:
    """An engine whose token after ``t`` is likeliest ``t + 1``; it counts the positions that it made logits of."""

    def __init__(self) -> None:
        self.prompts: list[tuple[int, ...]] = []
        self.rows = 0

    def prefill(self, prompt_ids, positions):
        assert positions >= len(prompt_ids)
        self.prompts.append(tuple(prompt_ids))
        return self._logits(prompt_ids[-1:])

    def behind(self, ids):
        for start in range(0, len(ids), SCORED_AT_ONCE):
            yield self._logits(ids[start : start + SCORED_AT_ONCE])

    def _logits(self, ids):
        self.rows += len(ids)
        rows = np.zeros((len(ids), VOCABULARY), dtype=np.float32)
        rows[np.arange(len(ids)), [token + 1 for token in ids]] = 10.0
        return rows


class Together(Counting):
    """One that evaluates several continuations at a time, and says how many of which length."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []

    def together(self, rows):
        self.calls.append([len(row) for row in rows])
        return [self._logits(row) for row in rows]


def test_only_the_positions_of_continuations_get_logits():
    engine = Counting()
    scores = score_behind(engine, [7, 8, 9], [[10], [10, 11, 12], [3]], top_k=1)
    assert engine.prompts == [(7, 8, 9)] and engine.rows == 1 + 0 + 2 + 0
    assert [list(one.is_greedy) for one in scores] == [[True], [True] * 3, [False]]
    likely = 10 - math.log(math.exp(10) + VOCABULARY - 1)
    assert scores[1].logprobs == pytest.approx([likely] * 3, abs=1e-9)
    assert scores[2].logprobs == pytest.approx([likely - 10], abs=1e-9)
    assert [list(ids) for ids in scores[1].top_ids] == [[10], [11], [12]]


def test_continuations_are_evaluated_together_up_to_a_chunk():
    longest = [5] * (SCORED_AT_ONCE // 2)
    continuations = [[10, 11, 12], [3], longest, [10, 9], [7, 8, 9, 10], [*longest, 5, 5, 5]]
    engine = Together()
    scores = score_behind(engine, [7, 8, 9], continuations, top_k=1)
    assert engine.calls == [
        [1, 2, 3]
    ]  # the longer ones would fill a chunk with their padding, the one id asks for none
    assert scores == score_behind(Counting(), [7, 8, 9], continuations, top_k=1)
    several = Together()
    score_behind(several, [1] * 4000, [[1, 2, 3]] * 5)
    assert several.calls == [[2, 2], [2, 2]]  # no more copies of so long a prompt's cache; the fifth goes alone


def test_a_long_text_needs_memory_for_one_chunk_of_logits():
    text = [i % 1000 for i in range(8 * SCORED_AT_ONCE)]
    chunk = SCORED_AT_ONCE * VOCABULARY * 4
    tracemalloc.start()
    try:
        scores = score_whole(Counting(), text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(scores.logprobs) == len(text) and math.isnan(scores.logprobs[0])
    assert peak < 2.5 * chunk < len(text) * VOCABULARY * 4 / 3  # one is read while the next is made


def test_a_single_token_has_no_score_and_missing_rows_are_refused():
    assert score_whole(Counting(), []).logprobs == ()
    alone = score_whole(Counting(), [4])
    assert math.isnan(alone.logprobs[0]) and list(alone.is_greedy) == [False]
    with pytest.raises(ValueError, match="logits of 1 positions for 2 tokens"):
        score_rows([1, 2, 3], iter([np.zeros((1, 5), dtype=np.float32)]), 0)
