"""What a worker measures and scores, a line each: samples with their steps, and given continuations.

Nothing is sent inside a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..contract.generation import Generated, Request, Step
from ..errors import BackendError, ModelError, SampleError
from ..isolation.processes.messages import Evaluation, Score
from ..records.step_figures import FIGURES
from ..sdk.tokenizer import ids_hash, pieces
from .choices import check_room, score_choices, told
from .job import EvaluateJob, PromptJob, ScoreJob
from .rows import Row, answer_of, finish_of, tokens_of
from .session import Prompt, Session


def measure_all(session: Session, jobs: Sequence[PromptJob]) -> None:
    """Measure every prompt.

    Raises:
        ModelError: a prompt does not fit into the context; nothing was measured.
        BackendError: samples failed; each was sent with its reason.
    """
    prompts = [session.prompt(job) for job in jobs]
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
        raise BackendError(f"{len(failures)} of {index} samples failed: {failures[0]}", code="sample-failed")


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    """Yield the prompts in batches; warm-up and measured ones never share a batch."""
    for is_warmup in (True, False):
        chosen = [prompt for prompt in prompts if prompt.job.is_warmup == is_warmup]
        for start in range(0, len(chosen), size):
            yield chosen[start : start + size]


def about(session: Session, prompt: Prompt, index: int, batch: int) -> dict[str, Any]:
    """Return what a log says of a sample before it is measured.

    Args:
        session: measures it.
        prompt: of the sample.
        index: within the round.
        batch: index of what it is generated in.
    """
    identity = {"index": index, "sample_id": prompt.job.sample_id, "is_warmup": prompt.job.is_warmup}
    limit = session.limit(prompt)
    own_limit = {} if prompt.pairs or limit == session.workload.token_limit else {"token_limit": limit}
    return {**identity, "prompt": prompt.text, "batch": batch, **own_limit}


def _measure_choices(session: Session, prompt: Prompt, index: int) -> list[str]:
    """Score the choices of one problem and send it; return why it came to nothing, if it did."""
    pairs = prompt.pairs
    facts = about(session, prompt, index, index)
    session.wire.wait_until_read()
    try:
        scored = score_choices(session.backend, pairs)
        facts |= told(prompt.job, pairs, scored) | {"start_s": (scored.start_ns - session.started_ns) / 1e9}
    except SampleError as error:
        facts |= {"scored_tokens": sum(map(len, pairs)), "output_tokens": None}
        failed = {"status": "failed", "reason": str(error), "reason_code": error.code}
        session.wire.write("sample", {**facts, **failed})
        return [str(error)]
    session.wire.write("sample", {**facts, "engine": session.engine_figures()})
    return []


def _measure_batch(session: Session, prompts: Sequence[Prompt], first: int, number: int) -> list[str]:
    """Generate one batch and send its samples; return why they came to nothing, if they did."""
    requests = [replace(session.request(prompt, first + row), row=row) for row, prompt in enumerate(prompts)]
    facts = [about(session, prompt, first + row, number) for row, prompt in enumerate(prompts)]
    session.wire.wait_until_read()
    try:
        batch = session.generate(requests, session.workload.stop)
    except SampleError as error:
        for one, request in zip(facts, requests, strict=True):
            send_failed(session, one, request, error)
        return [str(error)] * len(prompts)
    engine = session.engine_figures()
    times = {"start_s": (batch.start_ns - session.started_ns) / 1e9, "batch_s": batch.wall_ns / 1e9}
    if batch.depth_ns is not None:
        times |= {"depth_tokens": requests[0].depth, "depth_s": batch.depth_ns / 1e9}
    for one, request, row in zip(facts, requests, batch.rows, strict=True):
        if row.error is None:
            send_row(session, {**one, **times, "engine": engine}, request, row)
        else:
            send_failed(session, {**one, **times}, request, row.error)
    session.send_classic_log(list(generated(requests, batch.rows, first)))
    return [row.failure for row in batch.rows if row.failure is not None]


def generated(requests: Sequence[Request], rows: Sequence[Row], first: int) -> Iterator[Generated]:
    """Yield what each request came to, but for those that failed.

    Args:
        requests: what was asked.
        rows: what was answered, by times since the start.
        first: how many requests came before them in this process.
    """
    for number, (request, row) in enumerate(zip(requests, rows, strict=True), first + 1):
        if row.failure is None and row.steps:
            yield Generated(number, request, [step for _, step in row.steps], row.steps[-1][0] / 1e9)


def _prompt_of(request: Request) -> dict[str, Any]:
    return {"prompt_tokens": len(request.prompt_ids), "prompt_hash": ids_hash(request.prompt_ids)}


def send_failed(session: Session, facts: Mapping[str, Any], request: Request, error: BackendError) -> None:
    """Send a sample that came to nothing."""
    failed = {"output_tokens": 0, "status": "failed", "reason": str(error), "reason_code": error.code}
    session.wire.write("sample", {**facts, **_prompt_of(request), **failed})


def send_row(session: Session, facts: Mapping[str, Any], request: Request, row: Row) -> None:
    """Send one sample and its steps.

    Args:
        session: what measured it.
        facts: what else is known of the sample.
        request: what was asked.
        row: what was answered, by times since the sample's start.
    """
    ids, decode = row.ids, session.codec.decode_behind
    counters = row.steps[-1][1].counters
    sample = {
        **facts,
        **_prompt_of(request),
        "output_tokens": sum(map(tokens_of, (step for _, step in row.steps))),
        "output_ids": ids,
        "text": answer_of(request, row, decode),
        "finish": finish_of(request, row),
        "duration_s": row.steps[-1][0] / 1e9,
        **({"engine": {**facts.get("engine", {}), **counters.figures()}} if counters else {}),
        **({"extra": {"retokenised": True}} if row.is_retokenised else {}),
    }
    session.wire.write("sample", sample)
    visible = [[token for token in step.token_ids if token not in session.stop_ids] for _, step in row.steps]
    # Pieces in the order of time join to the text only where tokens come in the order of the text.
    texts = [decode(ids) for ids in visible] if row.is_placed else pieces(decode, visible)
    before = 0
    for number, ((now, step), piece) in enumerate(zip(row.steps, texts, strict=True)):
        times = {"t_s": now / 1e9, "step_s": (now - before) / 1e9}
        content = {"tokens": tokens_of(step), "token_ids": list(step.token_ids), "text": piece}
        session.wire.write("step", {"sample": facts["index"], "index": number, **times, **content, **_extras(step)})
        before = now


def _extras(step: Step) -> dict[str, Any]:
    """Return what a backend set of a step besides its tokens."""
    extras = {name: value for name in FIGURES if (value := getattr(step, name)) is not None}
    if step.positions is not None:
        extras["positions"] = list(step.positions)
    if step.trace is not None:
        extras["trace"] = dict(step.trace)
    return extras


def score_all(session: Session, job: ScoreJob) -> None:
    """Score the last id of every continuation: its log-probability and the likeliest ids at its place."""
    for index, continuation in enumerate(job.continuations):
        _, prompt_ids = session.encode(continuation.prompt)
        *before, last = continuation.output_ids
        (scores,) = session.backend.score_continuations([*prompt_ids, *before], [[last]], job.top_k)
        top = tuple(map(float, scores.top_logprobs[-1]))
        score = Score.model_construct(index=index, logprob=float(scores.logprobs[-1]), top_logprobs=top)
        session.wire.send(score)


def evaluate_all(session: Session, job: EvaluateJob) -> None:
    """Score every position of every continuation; a text is scored without the likeliest ids.

    Raises:
        ModelError: a sequence is longer than the model's context.
        BackendError: the size of the vocabulary is unknown.
    """
    size, held = session.facts.vocabulary_size, session.facts.context_length
    if size is None:
        raise BackendError("its vocabulary size is unknown, which comparing distributions needs", code="not-supported")
    top_k = size if job.top_k and size <= job.whole_vocabulary_up_to else job.top_k
    for index, continuation in enumerate(job.continuations):
        ids, start = session.encode_continued(continuation)
        if held is not None and len(ids) > held:
            raise ModelError(
                f"sequence {index} has {len(ids)} tokens; the model's context length is {held}", code="context-exceeded"
            )
        wanted = top_k if continuation.text is None else 0
        (scores,) = session.backend.score_continuations(ids[:start], [ids[start:]], wanted)
        evaluation = Evaluation.model_construct(
            index=index,
            vocabulary_size=size,
            logprobs=tuple(map(float, scores.logprobs)),
            is_greedy=tuple(map(bool, scores.is_greedy)),
            top_ids=tuple(tuple(map(int, row)) for row in scores.top_ids),
            top_logprobs=tuple(tuple(map(float, row)) for row in scores.top_logprobs),
        )
        session.wire.send(evaluation)
