"""The worker's end of a conversation: one loaded backend answers requests until its standard input ends.

What is asked stands in ``ServeRequest``, a JSON line each; every line is answered by one ``answer`` line with
``values`` and the number of prompts that were ``clipped``, or with ``error`` where that request failed and the next may
not. A prompt that is too long for the context loses its beginning, as in lm-evaluation-harness.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..contract.generation import Scores
from ..errors import ModelError, SampleError
from ..isolation.processes.messages import Answer, Serving
from ..records.serving import ServeRequest
from .choices import Pair, encode_pair, score_pairs
from .rows import answer_of
from .session import Session


def serve(session: Session) -> None:
    """Answer every line of standard input.

    Raises:
        ModelError: the engine does not say how long its context is.
    """
    session.wire.send(Serving(context_length=_context(session)))
    for line in iter(sys.stdin.readline, ""):
        try:
            values, clipped = _answers(session, ServeRequest.model_validate_json(line))
            session.wire.send(Answer.model_construct(values=values, clipped=clipped))
        except (SampleError, ModelError) as error:
            session.wire.send(Answer(error=str(error), code=error.code))


def _answers(session: Session, asked: ServeRequest) -> tuple[list[Any], int]:
    """Return a value for each prompt, and how many prompts were clipped."""
    match asked.kind:
        case "score":
            pairs = zip(asked.prompts, asked.continuations, strict=True)
            encoded = [encode_pair(session.codec, *pair, is_rendered=asked.is_rendered) for pair in pairs]
            held = _context(session)
            scores = score_pairs(session.backend, [_clipped(pair, held) for pair in encoded])
            return [_likelihood([one]) for one in scores], sum(len(pair) > held for pair in encoded)
        case "rolling":
            return [_rolling(session, text) for text in asked.prompts], 0
        case "generate":
            return _generated(session, asked)


def _context(session: Session) -> int:
    held = session.facts.context_length
    if held is None:
        raise ModelError(
            "the engine does not say how long its context is, so that no prompt can be fitted into it",
            code="context-exceeded",
        )
    return held


def _clipped(pair: Pair, held: int) -> Pair:
    """Return a pair with as much of its prompt as the context holds."""
    length = len(pair.continuation_ids)
    if length >= held:
        raise ModelError(
            f"a continuation of {length} tokens; the model's context holds {held}", code="context-exceeded"
        )
    return Pair(pair.prompt_ids[length - held :], pair.continuation_ids)


def _likelihood(scores: Sequence[Scores]) -> tuple[float, bool]:
    total = math.fsum(float(value) for one in scores for value in one.logprobs)
    if not math.isfinite(total):
        raise SampleError(f"no finite log-probability: {total}", code="cannot-score")
    return total, all(bool(value) for one in scores for value in one.is_greedy)


def _rolling(session: Session, text: str) -> float:
    """Score a whole text, the first token given the begin token; a longer one than the context in windows."""
    codec = session.codec
    windows = rolling_windows(codec.encode_behind(text), codec.begin_id(), _context(session))
    return _likelihood(score_pairs(session.backend, list(windows)))[0]


def rolling_windows(tokens: Sequence[int], begin_id: int, size: int) -> Iterator[Pair]:
    """Cut a text so that every token is scored once, each window as full as it can be.

    Args:
        tokens: the text.
        begin_id: stands before the first token.
        size: tokens of a window, those that are given and those that are scored.
    """
    padded = [begin_id, *tokens]
    done = 1
    while done < len(padded):
        end = min(len(padded), max(size, done + size - 1))
        start = max(0, end - size)
        yield Pair(tuple(padded[start:done]), tuple(padded[done:end]))
        done = end


def _generated(session: Session, asked: ServeRequest) -> tuple[list[str], int]:
    held, codec = _context(session), session.codec
    room = held - asked.max_new_tokens
    if room < 1:
        raise ModelError(
            f"{asked.max_new_tokens} new tokens leave no room for a prompt: the context holds {held}",
            code="context-exceeded",
        )
    encode = codec.encode_behind if asked.is_rendered else codec.encode
    prompts = [encode(prompt) for prompt in asked.prompts]
    requests = [
        replace(session.sampled(ids[-room:], asked.max_new_tokens, asked.sampling, row), row=row)
        for row, ids in enumerate(prompts)
    ]
    rows = session.generate(requests, asked.stop).rows
    for row in rows:
        if row.error is not None:
            raise row.error
    texts = [answer_of(request, row, codec.decode_behind) for request, row in zip(requests, rows, strict=True)]
    return texts, sum(len(ids) > room for ids in prompts)
