"""What a worker measures and scores, a line each: samples with their steps, and given continuations.

Nothing is sent inside a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from ..contract.generation import Request, Step
from ..errors import BackendError, ModelError, SampleError
from ..sdk.tokenizer import ids_hash, pieces
from .choices import check_room, encode_choices, score_choices, told
from .job import Job, PromptJob
from .session import Session
from .timed_loop import Batch, Row, answer_of

_STEP_FIELDS = [one.name for one in fields(Step) if one.name not in ("token_ids", "row", "positions", "trace")]


def measure_all(session: Session) -> None:
    """Measure every prompt of the job.

    Raises:
        BackendError: samples failed; each was sent with its reason.
    """
    index = 0
    failures: list[str] = []
    for number, prompts in enumerate(_batches(session.job)):
        if prompts[0].choices:
            for row, prompt in enumerate(prompts):
                failures += _measure_choices(session, prompt, index + row)
        else:
            failures += _measure_batch(session, prompts, index, number)
        index += len(prompts)
    if failures:
        raise BackendError(f"{len(failures)} of {index} samples failed: {failures[0]}")


def _batches(job: Job) -> Iterator[Sequence[PromptJob]]:
    """Yield the prompts in batches; warm-up and measured ones never share a batch."""
    for is_warmup in (True, False):
        chosen = [prompt for prompt in job.prompts if prompt.is_warmup == is_warmup]
        for start in range(0, len(chosen), job.batch_size):
            yield chosen[start : start + job.batch_size]


def _about(prompt: PromptJob, index: int, text: str | None, batch: int) -> dict[str, Any]:
    identity = {"index": index, "sample_id": prompt.sample_id, "is_warmup": prompt.is_warmup}
    return {**identity, "prompt": text, "batch": batch}


def _measure_choices(session: Session, prompt: PromptJob, index: int) -> list[str]:
    """Score the choices of one problem and send it; return why it came to nothing, if it did."""
    text, _ = session.encode(prompt)
    pairs = encode_choices(prompt, text or "", session.codec, is_rendered=session.job.chat)
    check_room(pairs, session.facts.context_length, prompt.sample_id)
    about = _about(prompt, index, text, index)
    session.wire.wait_until_read()
    try:
        scored = score_choices(session.backend, pairs)
        about |= told(prompt, pairs, scored) | {"start_s": (scored.start_ns - session.started_ns) / 1e9}
    except SampleError as error:
        about |= {"scored_tokens": sum(map(len, pairs)), "output_tokens": None}
        session.wire.send("sample", {**about, "status": "failed", "reason": str(error)})
        return [str(error)]
    session.wire.send("sample", {**about, "engine": session.engine_figures()})
    return []


def _measure_batch(session: Session, prompts: Sequence[PromptJob], first: int, number: int) -> list[str]:
    """Generate one batch and send its samples; return why they came to nothing, if they did."""
    encoded = [session.encode(prompt) for prompt in prompts]
    requests = [session.request(ids, first + row) for row, (_, ids) in enumerate(encoded)]
    about = [
        _about(prompt, first + row, text, number)
        for row, (prompt, (text, _)) in enumerate(zip(prompts, encoded, strict=True))
    ]
    session.wire.wait_until_read()
    try:
        batch = session.generate(requests, session.job.stop)
    except SampleError as error:
        failed = {"output_tokens": 0, "status": "failed", "reason": str(error)}
        for one, request in zip(about, requests, strict=True):
            session.wire.send("sample", {**one, **_prompt_of(request), **failed})
        return [str(error)] * len(prompts)
    engine = session.engine_figures()
    for one, request, row in zip(about, requests, batch.rows, strict=True):
        _send(session, {**one, "engine": engine}, request, batch, row)
    return []


def _prompt_of(request: Request) -> dict[str, Any]:
    return {"prompt_tokens": len(request.prompt_ids), "prompt_hash": ids_hash(request.prompt_ids)}


def _send(session: Session, about: dict[str, Any], request: Request, batch: Batch, row: Row) -> None:
    """Send one sample and its steps."""
    ids, decode = row.ids, session.codec.decode_behind
    sample = {
        **about,
        **_prompt_of(request),
        "output_tokens": len(ids),
        "output_ids": ids,
        "text": answer_of(request, row, decode),
        "finish": "stop-string" if row.is_cut else "stop" if request.is_stop(ids[-1]) else "length",
        "start_s": (batch.start_ns - session.started_ns) / 1e9,
        "duration_s": row.steps[-1][0] / 1e9,
        "batch_s": batch.wall_ns / 1e9,
    }
    session.wire.send("sample", sample)
    visible = [[token for token in step.token_ids if token not in session.stop_ids] for _, step in row.steps]
    # Pieces in the order of time join to the text only where tokens come in the order of the text.
    texts = [decode(ids) for ids in visible] if row.is_placed else pieces(decode, visible)
    before = 0
    for number, ((now, step), piece) in enumerate(zip(row.steps, texts, strict=True)):
        times = {"t_s": now / 1e9, "step_s": (now - before) / 1e9}
        content = {"tokens": len(step.token_ids), "token_ids": list(step.token_ids), "text": piece}
        session.wire.send("step", {"sample": about["index"], "index": number, **times, **content, **_extras(step)})
        before = now


def _extras(step: Step) -> dict[str, Any]:
    """Return what a backend set of a step besides its tokens."""
    extras = {name: value for name in _STEP_FIELDS if (value := getattr(step, name)) is not None}
    if step.positions is not None:
        extras["positions"] = list(step.positions)
    if step.trace is not None:
        extras["trace"] = dict(step.trace)
    return extras


def score_all(session: Session) -> None:
    """Score the last id of every continuation: its log-probability and the likeliest ids at its place."""
    for index, continuation in enumerate(session.job.continuations):
        _, prompt_ids = session.encode(continuation.prompt)
        scores = session.backend.score([*prompt_ids, *continuation.output_ids], session.job.top_k)
        content = {"index": index, "logprob": float(scores.logprobs[-1])}
        session.wire.send("score", content | {"top_logprobs": [float(value) for value in scores.top_logprobs[-1]]})


def evaluate_all(session: Session) -> None:
    """Score every position of every continuation; a text is scored without the likeliest ids.

    Raises:
        ModelError: a sequence is longer than the model's context.
    """
    job, size = session.job, session.facts.vocabulary_size
    top_k = size if job.top_k and size <= job.whole_vocabulary_up_to else job.top_k
    for index, continuation in enumerate(job.continuations):
        ids, start = session.encode_continued(continuation)
        if len(ids) > session.facts.context_length:
            held = session.facts.context_length
            raise ModelError(f"sequence {index} has {len(ids)} tokens; the model's context holds {held}")
        scores = session.backend.score(ids, top_k if continuation.text is None else 0)
        content = {
            "index": index,
            "vocabulary_size": size,
            "logprobs": [float(value) for value in scores.logprobs[start:]],
            "is_greedy": [bool(value) for value in scores.is_greedy[start:]],
            "top_ids": [[int(token) for token in row] for row in scores.top_ids[start:]],
            "top_logprobs": [[float(value) for value in row] for row in scores.top_logprobs[start:]],
        }
        session.wire.send("evaluation", content)
