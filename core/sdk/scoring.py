"""From logits to log-probabilities, with the logits of a few positions in memory at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...defaults import TIE_MARGIN
from ..contract.generation import Scores

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SCORED_AT_ONCE = 128
"""Positions whose logits an engine makes in one go: at a vocabulary of 150,000 they are 77 MB of float32."""

_POSITIONS_TOGETHER = 8192
"""Prompt and continuation, over all rows that are evaluated together: how much of a KV cache may be copied."""

_ROWS_AT_ONCE = 16  # of a tensor, of which a copy in float64 is made

RowScores = tuple[float, bool, Sequence[int], Sequence[float]]
"""Of one position: log-probability of its token, whether it is the likeliest, the likeliest ids and theirs."""

ScoreRows = Callable[[Any, Sequence[int], int], Iterator[RowScores]]
"""From the logits [n, V] before n tokens, these tokens and ``top_k`` to the scores of each."""


def is_tie(margin: float | None, below: float = TIE_MARGIN) -> bool:
    """Whether the log-probabilities of the two likeliest ids are so near that rounding decides; None: not known."""
    return margin is not None and margin < below


class ScoringEngine(Protocol):
    """What ``score_behind`` needs of an engine: one sequence with a KV cache that can be cut back to its prompt."""

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> Any:  # noqa: ANN401 - the engine's own arrays
        """Evaluate a prompt from an empty cache, with room for ``positions``; return the logits behind its last id.

        Returns:
            [1, V], an array that ``ScoreRows`` reads; it must stay as it is during the calls of ``behind``.
        """

    def behind(self, ids: Sequence[int]) -> Iterator[Any]:
        """Evaluate ids behind the prompt, in place of whatever followed it before.

        Yields:
            The logits behind each id in order, [n, V] with n <= ``SCORED_AT_ONCE``.
        """


@runtime_checkable
class ScoringTogether(ScoringEngine, Protocol):
    """An engine that evaluates several continuations in one pass over its weights, which costs little more than one."""

    def together(self, rows: Sequence[Sequence[int]]) -> Sequence[Any]:
        """Evaluate several continuations of the prompt, each behind it alone.

        Args:
            rows: at least two of at least one id each; padded to the longest at most ``SCORED_AT_ONCE`` ids.

        Returns:
            Of each row the logits behind its ids, [n, V].
        """


def score_behind(
    engine: ScoringEngine,
    prompt_ids: Sequence[int],
    continuations: Sequence[Sequence[int]],
    top_k: int = 0,
    score: ScoreRows | None = None,
) -> list[Scores]:
    """Score continuations of one prompt, which is evaluated once.

    Only the positions of the continuations get logits. One of a single id costs nothing beyond the prompt.

    Args:
        engine: does the evaluating; several continuations at a time where it can.
        prompt_ids: at least one.
        continuations: each of at least one id.
        top_k: how many of the most likely ids to give per position.
        score: reads the engine's arrays; by default those of numpy.
    """
    rests = [ids[:-1] for ids in continuations]  # behind the last id nothing is asked
    first = engine.prefill(prompt_ids, len(prompt_ids) + 1 + max(map(len, rests), default=0))
    found: dict[int, Scores] = {}
    if isinstance(engine, ScoringTogether):
        for group in _groups(rests, len(prompt_ids)):
            for index, rows in zip(group, engine.together([rests[index] for index in group]), strict=True):
                found[index] = score_given(continuations[index], [first, rows], top_k, score)
    for index, rest in enumerate(rests):
        if index not in found:
            behind = engine.behind(rest) if rest else ()
            found[index] = score_given(continuations[index], itertools.chain([first], behind), top_k, score)
    return [found[index] for index in range(len(rests))]


def _groups(rests: Sequence[Sequence[int]], prompt: int) -> Iterator[list[int]]:
    """Yield the places of continuations that are evaluated together, at least two, those of like lengths.

    Args:
        rests: what of each is evaluated.
        prompt: ids of the prompt.
    """
    group: list[int] = []
    for index in sorted((index for index, rest in enumerate(rests) if rest), key=lambda index: len(rests[index])):
        count, longest = len(group) + 1, len(rests[index])
        if count * longest > SCORED_AT_ONCE or count * (prompt + longest) > _POSITIONS_TOGETHER:
            if len(group) > 1:
                yield group
            group = []
        group.append(index)
    if len(group) > 1:
        yield group


def score_whole(engine: ScoringEngine, tokens: Sequence[int], top_k: int = 0, score: ScoreRows | None = None) -> Scores:
    """Score a sequence: everything behind its first token, which has no log-probability."""
    if len(tokens) < 2:
        return _with_first(tokens, Scores((), ()))
    return _with_first(tokens, score_behind(engine, tokens[:1], [tokens[1:]], top_k, score)[0])


def score_rows(tokens: Sequence[int], chunks: Iterable[Any], top_k: int, score: ScoreRows | None = None) -> Scores:
    """Score ``tokens`` from the logits of the positions before them.

    Args:
        tokens: T ids.
        chunks: logits of positions 0 .. T-2 in order, a few rows [n, V] at a time, float32.
        top_k: how many of the most likely ids to give per position.
        score: reads the chunks; by default those of numpy.
    """
    return _with_first(tokens, score_given(tokens[1:], chunks, top_k, score))


def score_given(tokens: Sequence[int], chunks: Iterable[Any], top_k: int, score: ScoreRows | None = None) -> Scores:
    """Score tokens from logits, n rows for n tokens; arguments as for ``score_rows``."""
    read = score or score_logits
    found: list[RowScores] = []
    for rows in chunks:
        found.extend(read(rows, tokens[len(found) : len(found) + len(rows)], top_k))
    if len(found) != len(tokens):
        raise ValueError(f"logits of {len(found)} positions for {len(tokens)} tokens")
    logprobs, is_greedy, top_ids, top_logprobs = zip(*found, strict=True) if found else ((), (), (), ())
    return Scores(logprobs, is_greedy, top_ids, top_logprobs)


def score_logits(rows: np.ndarray, tokens: Sequence[int], top_k: int) -> Iterator[RowScores]:
    """Yield the scores of each token from the logits before it, [n, V] float32; in float64, a row at a time."""
    import numpy as np

    for logits, token in zip(rows, tokens, strict=True):
        wide = logits.astype(np.float64)
        wide -= wide.max()
        wide -= np.log(np.exp(wide).sum())  # log-softmax
        ids = _largest(wide, top_k)
        # argmax takes the first, so the smallest id on a tie
        yield float(wide[token]), bool(logits.argmax() == token), ids.tolist(), wide[ids].tolist()


def score_tensor(rows: Tensor, tokens: Sequence[int], top_k: int) -> Iterator[RowScores]:
    """Do what ``score_logits`` does on a torch device; nothing leaves it but what was asked for."""
    import torch

    ids = torch.tensor(list(tokens), device=rows.device)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part, own = rows[start : start + _ROWS_AT_ONCE], ids[start : start + _ROWS_AT_ONCE]
        wide = part.float() if part.device.type == "mps" else part.double()
        logprobs = wide.log_softmax(-1)  # [n, V]
        chosen = logprobs.gather(-1, own[:, None])[:, 0].tolist()
        best = (part.argmax(-1) == own).tolist()
        found = logprobs.topk(min(top_k, logprobs.shape[-1]), -1) if top_k else None
        top_ids = found.indices.tolist() if found else [[]] * len(part)
        top_logprobs = found.values.tolist() if found else [[]] * len(part)
        yield from zip(chosen, best, top_ids, top_logprobs, strict=True)


def _with_first(tokens: Sequence[int], rest: Scores) -> Scores:
    """Put the first token of a sequence before the scores of the others."""
    if not tokens:
        return Scores((), ())
    return Scores(
        [math.nan, *rest.logprobs],
        [False, *rest.is_greedy],
        [[], *rest.top_ids],
        [[], *rest.top_logprobs],
    )


def _largest(row: np.ndarray, k: int) -> np.ndarray:
    """Return the ids of the k largest values, largest first, smaller ids first on ties."""
    import numpy as np

    k = min(k, len(row))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(row, len(row) - k)[len(row) - k]
    candidates = np.flatnonzero(row >= threshold)
    return candidates[np.argsort(-row[candidates], kind="stable")][:k]
