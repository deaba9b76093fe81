"""Choices by log-likelihood: where a choice begins behind its prompt, and how likely the model finds it.

Runs in the worker. The boundary is found as lm-evaluation-harness finds it: white space at the end of a prompt belongs
to the choice, since tokenizers join a space with the word that follows; both are encoded as one text, and the choice
begins where the prompt's own ids end to be the same.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..contract.backend import Backend
from ..contract.generation import Scores
from ..contract.task import likeliest
from ..errors import ModelError, SampleError
from ..sdk.tokenizer import Codec, ids_hash
from .job import PromptJob
from .timed_loop import Clock, quiet_interpreter


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and what follows it, as ids; each has at least one."""

    prompt_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.continuation_ids)


def encode_pair(codec: Codec, prompt: str, continuation: str, *, is_rendered: bool = False) -> Pair:
    """Encode a prompt and a continuation as one text and find the boundary.

    Args:
        codec: the model's tokenizer.
        prompt: may be empty: the model's begin token stands for it.
        continuation: the text to score.
        is_rendered: the prompt has its special tokens already, as a rendered chat.

    Raises:
        ModelError: the continuation is empty, or the prompt is and the model has no begin token.
    """
    bare = prompt.rstrip()
    if not bare:
        ids = codec.encode_behind(prompt + continuation)
        begin = codec.begin_id()
        ids = ids if ids[:1] == [begin] else [begin, *ids]
        start = 1
    else:
        encode = codec.encode_behind if is_rendered else codec.encode
        ids, own = encode(prompt + continuation), encode(bare)
        # A tokenizer may merge over the boundary, so the prompt's ids need not all be there.
        shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ids, own, strict=False))
        start = max(1, sum(1 for _ in shared))
    if len(ids) <= start:
        raise ModelError(
            f"choice {continuation!r} adds no tokens after {prompt[-20:]!r}: it cannot be scored",
            code="cannot-score",
        )
    return Pair(tuple(ids[:start]), tuple(ids[start:]))


def encode_choices(prompt: PromptJob, text: str, codec: Codec, *, is_rendered: bool) -> list[Pair]:
    """Encode every choice of a problem; ``text`` is the prompt of those that have none of their own."""
    contexts = prompt.contexts or (text,) * len(prompt.choices)
    return [
        encode_pair(codec, context, choice, is_rendered=is_rendered)
        for context, choice in zip(contexts, prompt.choices, strict=True)
    ]


def check_room(pairs: Sequence[Pair], context_length: int | None, sample_id: str) -> None:
    """Refuse a problem that is longer than the model's context, where that is known."""
    longest = max((len(pair) for pair in pairs), default=0)
    if context_length is not None and longest > context_length:
        raise ModelError(
            f"{sample_id}: prompt and choice have {longest} tokens; the model's context holds {context_length}",
            code="context-exceeded",
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """The choices of one problem, scored.

    Attributes:
        scores: of each choice.
        start_ns: the clock at the start.
        wall_ns: all calls of the backend together.
    """

    scores: list[Scores]
    start_ns: int
    wall_ns: int


def score_choices(backend: Backend, pairs: Sequence[Pair], clock: Clock = time.perf_counter_ns) -> Scored:
    """Score every choice of a problem, those of one prompt in one call; the time is that of the backend alone."""
    with quiet_interpreter():
        start = clock()
        scores = score_pairs(backend, pairs)
        wall = clock() - start
    return Scored(scores, start, wall)


def score_pairs(backend: Backend, pairs: Sequence[Pair]) -> list[Scores]:
    """Score pairs, in order; neighbours with the same prompt go to the backend together.

    Raises:
        SampleError: the backend gave another number of scores than it was asked for.
    """
    found: list[Scores] = []
    for prompt_ids, group in itertools.groupby(pairs, key=lambda pair: pair.prompt_ids):
        continuations = [pair.continuation_ids for pair in group]
        scores = backend.score_continuations(prompt_ids, continuations)
        if len(scores) != len(continuations):
            raise SampleError(f"{len(scores)} scores for {len(continuations)} continuations", code="contract-broken")
        found += scores
    return found


def told(prompt: PromptJob, pairs: Sequence[Pair], scored: Scored) -> dict[str, Any]:
    """Return what a raw log says of a scored problem.

    Raises:
        SampleError: a choice has no finite log-probability, or not as many scores as tokens.
    """
    sums = list(_sums(pairs, scored.scores))
    chosen = likeliest(sums)
    lengths = {len(pair.prompt_ids) for pair in pairs}
    ids = [token for pair in pairs for token in (*pair.prompt_ids, *pair.continuation_ids)]
    return {
        "prompt_tokens": lengths.pop() if len(lengths) == 1 else None,
        "prompt_hash": ids_hash(ids),
        "output_tokens": None,
        "text": prompt.choices[chosen].strip(),
        "choices": list(prompt.choices),
        "choice_logprobs": sums,
        "choice_is_greedy": [all(map(bool, scores.is_greedy)) for scores in scored.scores],
        "chosen": chosen,
        "scored_tokens": len(ids),
        "duration_s": scored.wall_ns / 1e9,
        "batch_s": scored.wall_ns / 1e9,
    }


def _sums(pairs: Sequence[Pair], scores: Sequence[Scores]) -> Iterator[float]:
    for number, (pair, score) in enumerate(zip(pairs, scores, strict=True)):
        if len(score.logprobs) != len(pair.continuation_ids):
            raise SampleError(
                f"choice {number}: {len(score.logprobs)} log-probabilities for {len(pair.continuation_ids)} tokens",
                code="contract-broken",
            )
        total = math.fsum(map(float, score.logprobs))
        if not math.isfinite(total):
            raise SampleError(f"choice {number} has no finite log-probability: {total}", code="cannot-score")
        yield total
