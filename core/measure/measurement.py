"""What a worker measures and scores, a line each: samples with their steps, and given continuations.

Nothing is sent inside a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..contract.generation import Request, Step
from ..errors import BackendError, ModelError, SampleError
from ..records.step_figures import FIGURES
from ..sdk.tokenizer import ids_hash, pieces
from .choices import check_room, score_choices, told
from .session import Prompt, Session
from .timed_loop import Batch, Row, answer_of


def measure_all(session: Session) -> None:
    """Measure every prompt of the job.

    Raises:
        ModelError: a prompt does not fit into the context; nothing was measured.
        BackendError: samples failed; each was sent with its reason.
    """
    prompts = [session.prompt(job) for job in session.job.prompts]
    session.check_room([prompt for prompt in prompts if not prompt.pairs])
    for prompt in prompts:
        check_room(prompt.pairs, session.facts.context_length, prompt.job.sample_id)
    index = 0
    failures: list[str] = []
    for number, batch in enumerate(_batches(prompts, session.workload.batch_size)):
        if batch[0].pairs:
            for row, prompt in enumerate(batch):
                failures += _measure_choices(session, prompt, index + row)
        else:
            failures += _measure_batch(session, batch, index, number)
        index += len(batch)
    if failures:
        raise BackendError(f"{len(failures)} of {index} samples failed: {failures[0]}")


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    """Yield the prompts in batches; warm-up and measured ones never share a batch."""
    for is_warmup in (True, False):
        chosen = [prompt for prompt in prompts if prompt.job.is_warmup == is_warmup]
        for start in range(0, len(chosen), size):
            yield chosen[start : start + size]


def _about(prompt: Prompt, index: int, batch: int) -> dict[str, Any]:
    identity = {"index": index, "sample_id": prompt.job.sample_id, "is_warmup": prompt.job.is_warmup}
    return {**identity, "prompt": prompt.text, "batch": batch}


def _measure_choices(session: Session, prompt: Prompt, index: int) -> list[str]:
    """Score the choices of one problem and send it; return why it came to nothing, if it did."""
    pairs = prompt.pairs
    about = _about(prompt, index, index)
    session.wire.wait_until_read()
    try:
        scored = score_choices(session.backend, pairs)
        about |= told(prompt.job, pairs, scored) | {"start_s": (scored.start_ns - session.started_ns) / 1e9}
    except SampleError as error:
        about |= {"scored_tokens": sum(map(len, pairs)), "output_tokens": None}
        session.wire.send("sample", {**about, "status": "failed", "reason": str(error)})
        return [str(error)]
    session.wire.send("sample", {**about, "engine": session.engine_figures()})
    return []


def _measure_batch(session: Session, prompts: Sequence[Prompt], first: int, number: int) -> list[str]:
    """Generate one batch and send its samples; return why they came to nothing, if they did."""
    requests = [session.request(prompt.ids, first + row) for row, prompt in enumerate(prompts)]
    about = [_about(prompt, first + row, number) for row, prompt in enumerate(prompts)]
    for one, request in zip(about, requests, strict=True):
        if request.max_new_tokens < session.workload.token_limit:
            one["token_limit"] = request.max_new_tokens
    session.wire.wait_until_read()
    try:
        batch = session.generate(requests, session.workload.stop)
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
    extras = {name: value for name in FIGURES if (value := getattr(step, name)) is not None}
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
