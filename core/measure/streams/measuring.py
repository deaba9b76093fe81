"""What a worker measures where requests arrive while others run: a stream to warm up, then the one that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...errors import BackendError
from ..job import PromptJob
from ..measurement import about, generated, send_failed, send_row
from ..session import Prompt, Session
from .loop import Answered, measure_stream
from .source import Asked, Load


def measure_streams(session: Session, jobs: Sequence[PromptJob]) -> None:
    """Measure every prompt.

    Requests that fail are recorded with their reasons; they are a result of the load, and the round goes on.

    Raises:
        ModelError: a prompt does not fit into the context; nothing was measured.
        BackendError: every request failed, or the stream broke off; what was answered was sent.
    """
    prompts = [session.prompt(job) for job in jobs]
    session.check_room(prompts)
    first = 0
    for number, is_warmup in enumerate((True, False)):
        chosen = [prompt for prompt in prompts if prompt.job.is_warmup == is_warmup]
        if chosen:
            _measure(session, chosen, first, number)
        first += len(chosen)


def _measure(session: Session, prompts: Sequence[Prompt], first: int, number: int) -> None:
    requests = [replace(session.request(prompt, first + row), row=row) for row, prompt in enumerate(prompts)]
    load = Load(session.workload.in_flight, _due_ns(prompts), [prompt.job.after for prompt in prompts])
    session.wire.wait_until_read()
    answered = measure_stream(session.backend, requests, load, session.codec, session.workload.stop)
    engine = session.engine_figures()
    failures = []
    for row, (prompt, one) in enumerate(zip(prompts, answered.asked, strict=True)):
        facts = about(session, prompt, first + row, number) | _times(session, answered, one) | {"engine": engine}
        failure = answered.broken if one.end is None else one.row.error
        if failure is None:
            send_row(session, facts, one.request, one.row)
        else:
            send_failed(session, facts, one.request, failure)
            failures.append(failure)
    whole = [one for one in answered.asked if one.end is not None]
    session.send_classic_log(list(generated([one.request for one in whole], [one.row for one in whole], first)))
    if answered.broken is not None:
        raise BackendError(
            f"{len(failures)} of {len(prompts)} requests were not answered: {answered.broken}",
            code="sample-failed",
        )
    if len(failures) == len(prompts):
        raise BackendError(f"every one of {len(prompts)} requests failed: {failures[0]}", code="sample-failed")


def _due_ns(prompts: Sequence[Prompt]) -> list[int] | None:
    """Return when requests are due; None where each waits for the end of another one."""
    if all(prompt.job.due_s is None for prompt in prompts):
        return None
    return [round(1e9 * (prompt.job.due_s or 0.0)) for prompt in prompts]


def _times(session: Session, answered: Answered, one: Asked) -> dict[str, Any]:
    """Return the times of a request as a sample has them; a client cannot know when a server admitted it."""
    in_process = session.backend.residence == "in-process"
    stamps = {"due_s": one.due, "start_s": one.sent, "admitted_s": one.sent if in_process else None, "end_s": one.end}
    times = {name: (at - session.started_ns) / 1e9 for name, at in stamps.items() if at is not None}
    return {**times, "batch_s": answered.wall_ns / 1e9, **({} if in_process else {"session": 0})}
