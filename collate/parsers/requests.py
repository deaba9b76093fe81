"""What serving benchmarks have in common: requests sent side by side, each with a few times, to one server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from ...core.records.schema import RecordedStep, Sample
from ...core.sdk.logs.fields import Fields


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the client saw it.

    Attributes:
        output_tokens: generated tokens; None where the log does not count them.
        prompt_tokens: tokens of the prompt.
        duration_s: from sending until the last token.
        first_token_s: from sending until the first token.
        decode_s: from the first token until the last; by default what lies between the two times above.
        gaps_s: seconds between the events of the stream after the first.
        start_s: when it was sent, on the log's own clock.
        error: why it failed; None for a request that did not.
        is_warmup: sent before the measurement.
        engine: the server's own counters of this request.
    """

    output_tokens: int | None
    prompt_tokens: int | None = None
    duration_s: float | None = None
    first_token_s: float | None = None
    decode_s: float | None = None
    gaps_s: Sequence[float] | None = None
    start_s: float | None = None
    error: str | None = None
    is_warmup: bool = False
    engine: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_token_by_token(self) -> bool:
        """Whether each event of the stream was one token: there are as many gaps as tokens after the first."""
        told = None not in (self.first_token_s, self.gaps_s, self.output_tokens) and self.error is None
        is_one_each = bool(self.output_tokens) and len(self.gaps_s or ()) + 1 == self.output_tokens
        return told and is_one_each and not self.is_overfull

    @property
    def is_overfull(self) -> bool:
        """Whether the stream went on for longer than the request, so that one of both is wrong."""
        if self.duration_s is None or self.first_token_s is None or not self.gaps_s:
            return False
        return self.first_token_s + sum(self.gaps_s) > self.duration_s * (1 + 1e-4)


def gaps_note(requests: Iterable[Request]) -> tuple[str, ...]:
    """Say for how many requests the gaps of the stream are no steps."""
    told = [request for request in requests if request.gaps_s and request.error is None]
    overfull = sum(request.is_overfull for request in told)
    odd = sum(not (request.is_token_by_token or request.is_overfull) for request in told)
    notes: tuple[str, ...] = ()
    if overfull:
        notes = (
            f"{overfull} of {len(told)} streams have gaps that are longer than their requests: they have no steps",
        )
    if not odd:
        return notes
    return (
        *notes,
        f"{odd} of {len(told)} streams have more or fewer events than tokens: an event is no token there, so they have "
        "no steps and no inter-token latency",
    )


def records(run_id: str, requests: Sequence[Request], wall_s: float | None) -> Iterator[Sample | RecordedStep]:
    """Yield a sample for each request, and a step per token where every event was one.

    Args:
        run_id: of the run.
        requests: in the order in which they were sent. No log tells which prompts they were, so that they have no
            identity and runs are compared as wholes.
        wall_s: time over all of them, which makes them one batch; None where they are not all here.
    """
    for index, request in enumerate(requests):
        about = {"run_id": run_id, "index": index, "is_warmup": request.is_warmup}
        if request.error is not None:
            reason = " ".join(request.error.split()) or "failed"
            yield Sample(**about, output_tokens=0, finish="error", status="failed", reason=reason)
            continue
        in_batch = wall_s is not None and not request.is_warmup
        yield Sample(
            **about,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            start_s=request.start_s,
            duration_s=request.duration_s,
            first_token_s=request.first_token_s,
            engine=dict(request.engine),
            **_decode(request),
            batch=0 if in_batch else None,
            batch_s=wall_s if in_batch else None,
        )
        if request.is_token_by_token:
            yield from _steps(run_id, index, request)


def _decode(request: Request) -> dict[str, Any]:
    """Return the tokens after the first and their time, where both are known."""
    decode_s = request.decode_s
    if decode_s is None and request.duration_s is not None and request.first_token_s is not None:
        decode_s = max(0.0, request.duration_s - request.first_token_s)
    if decode_s is None or not request.output_tokens:
        return {}
    return {"decode_tokens": request.output_tokens - 1, "decode_s": decode_s}


def _steps(run_id: str, index: int, request: Request) -> Iterator[RecordedStep]:
    times = list(accumulate((request.first_token_s or 0.0, *(request.gaps_s or ()))))
    for at, (before, t_s) in enumerate(pairwise((0.0, *times))):
        yield RecordedStep(run_id=run_id, sample=index, index=at, t_s=t_s, step_s=t_s - before, tokens=1)


def check_times(fields: Fields, name: str, duration_s: float | None, first_token_s: float | None) -> None:
    """Refuse a first token that comes after the last.

    Raises:
        RawLogError: names ``name``.
    """
    if duration_s is not None and first_token_s is not None and first_token_s > duration_s * (1 + 1e-6) + 1e-6:
        raise fields.fail(name, f"{first_token_s:g} s to the first token, {duration_s:g} s to the last")
