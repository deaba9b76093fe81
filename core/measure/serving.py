"""The worker's end of a conversation: one loaded backend answers requests until its standard input ends.

What is asked stands in ``ServeRequest``, a JSON line each; every line is answered by one ``answer`` line with
``values``, or with ``error`` where that request failed and the next may not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..contract.backend import Backend, ModelFacts, Request, Scores
from ..errors import ModelError, SampleError
from ..records.serving import ServeRequest
from ..sdk.tokenizer import Codec
from .choices import Pair, encode_pair
from .timed_loop import answer_of, measure, measure_with_stop


def serve(
    lines: Iterator[str], send: Callable[[str, dict[str, Any]], None], backend: Backend, codec: Codec, facts: ModelFacts
) -> None:
    """Answer every line of ``lines``."""
    stop_ids = facts.stop_token_ids or codec.stop_ids()
    send("serving", {"context_length": facts.context_length})
    for line in lines:
        asked = ServeRequest.model_validate_json(line)
        try:
            send("answer", {"values": _answers(asked, backend, codec, facts, stop_ids)})
        except (SampleError, ModelError) as error:
            send("answer", {"error": str(error)})


def _answers(
    asked: ServeRequest, backend: Backend, codec: Codec, facts: ModelFacts, stop_ids: Sequence[int]
) -> list[Any]:
    match asked.kind:
        case "score":
            pairs = zip(asked.prompts, asked.continuations, strict=True)
            encoded = (encode_pair(codec, *pair, is_rendered=asked.is_rendered) for pair in pairs)
            return [_likelihood([_scored(backend, pair, facts)]) for pair in encoded]
        case "rolling":
            return [_rolling(backend, codec, facts, text) for text in asked.prompts]
        case "generate":
            return _generated(asked, backend, codec, facts, stop_ids)


def _scored(backend: Backend, pair: Pair, facts: ModelFacts) -> Scores:
    """Score a pair; a prompt that is too long loses its beginning, as in lm-evaluation-harness."""
    room = facts.context_length - len(pair.continuation_ids)
    if room < 1:
        raise ModelError(
            f"a continuation of {len(pair.continuation_ids)} tokens; the model's context holds {facts.context_length}"
        )
    return backend.score_continuation(pair.prompt_ids[-room:], pair.continuation_ids)


def _likelihood(scores: Sequence[Scores]) -> tuple[float, bool]:
    total = math.fsum(float(value) for one in scores for value in one.logprobs)
    if not math.isfinite(total):
        raise SampleError(f"no finite log-probability: {total}")
    return total, all(bool(value) for one in scores for value in one.is_greedy)


def _rolling(backend: Backend, codec: Codec, facts: ModelFacts, text: str) -> float:
    """Score a whole text, the first token given the begin token; a longer one than the context in windows."""
    tokens = codec.encode_behind(text)
    windows = rolling_windows(tokens, codec.begin_id(), facts.context_length)
    return _likelihood([backend.score_continuation(pair.prompt_ids, pair.continuation_ids) for pair in windows])[0]


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


def _generated(
    asked: ServeRequest, backend: Backend, codec: Codec, facts: ModelFacts, stop_ids: Sequence[int]
) -> list[str]:
    room = facts.context_length - asked.max_new_tokens
    if room < 1:
        raise ModelError(
            f"{asked.max_new_tokens} new tokens leave no room for a prompt: the context holds {facts.context_length}"
        )
    encode = codec.encode_behind if asked.is_rendered else codec.encode
    requests = [
        Request(
            prompt_ids=tuple(encode(prompt)[-room:]),
            max_new_tokens=asked.max_new_tokens,
            temperature=asked.sampling.temperature,
            top_p=asked.sampling.top_p,
            top_k=asked.sampling.top_k,
            seed=asked.sampling.seed + row,
            stop_token_ids=tuple(stop_ids),
        )
        for row, prompt in enumerate(asked.prompts)
    ]
    batch = measure_with_stop(backend, requests, asked.stop, codec.decode) if asked.stop else measure(backend, requests)
    return [answer_of(request, row, codec.decode) for request, row in zip(requests, batch.rows, strict=True)]
