"""Answers of llama-server as a client kept them: one object, an array, one object a line, or a stream of events.

The server's clock starts when it begins with the prompt. `prompt_ms` runs until the first token is there and
`predicted_ms` from then on: it is the time of `predicted_n - 1` tokens. `predicted_per_second` is not read: many
builds count one token too many in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.engine_counters import EngineCounters
from ....core.records.schema import RecordedSampling, Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import MOST_TOKENS, Fields, flat
from ....core.sdk.logs.json_files import has_answers, read_answers
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.text import malformed

_TIMINGS = re.compile(r'"timings"\s*:\s*\{[^{}]*"predicted_ms"\s*:')
_ANY_SEED = 2**32 - 1
"""The seed of requests that did not ask for one: the server takes another each time."""
_LIMITS = ("n_predict", "max_tokens")
_ENDS: dict[str, Literal["stop", "length", "stop-string"]] = {
    "eos": "stop", "limit": "length", "word": "stop-string", "stop": "stop", "length": "length", "tool_calls": "stop",
}  # fmt: skip


class ServerTimings(LogParser):
    """Reads one run per model and settings of the request; every answer is a sample."""

    name = "llama-server"
    summary = "answers of llama-server with their timings: JSON, JSON lines or a stream of events"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the timings, which stand at the end of an answer."""
        return has_answers(path, head, _TIMINGS)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield a run for each model, limit and sampling, and its answers.

        Raises:
            RawLogError: the file is cut within an answer, or a value is of the wrong kind; names line and field.
        """
        content = read_answers(path)
        answers: dict[tuple[str, str], list[Fields]] = {}
        for answer in _finished(content.rows):
            kind = str(answer.content.get("model") or ""), json.dumps(_conditions(answer), sort_keys=True)
            answers.setdefault(kind, []).append(answer)
        if not answers:
            raise malformed(path, 1, "timings", "no answer that ended has them")
        for at, ((model, _), alike) in enumerate(answers.items()):
            run_id = f"sha256-{content.digest}-{at}"
            samples = [_sample(run_id, index, answer) for index, answer in enumerate(alike)]
            yield _run(run_id, model, alike, samples, content.cut)
            yield from samples


def _finished(rows: Sequence[Fields]) -> list[Fields]:
    """Leave out the chunks of a stream but the last of each answer, which has the timings of all of it.

    Answers that ended are as many answers, even if a proxy gives all of them one id.
    """
    found: dict[tuple[str, int], Fields] = {}
    ends: Counter[str] = Counter()
    for at, row in enumerate(rows):
        is_failed = row.has("error") and not row.has("timings")
        if is_failed or (row.has("timings") and row.content.get("stop") is not False):
            name = f"id {row.content['id']}" if isinstance(row.content.get("id"), str) else f"row {at}"
            ends[name] += _has_ended(row)
            found[name, ends[name] or 1] = row
    return list(found.values())


def _has_ended(row: Fields) -> bool:
    choice = _choice(row)
    return row.content.get("stop") is True or (choice is not None and choice.has("finish_reason"))


def _run(run_id: str, model: str, answers: Sequence[Fields], samples: Sequence[Sample], cut: str | None) -> Run:
    settings = answers[0].at("generation_settings")
    limit = next((settings.count(name) for name in _LIMITS if _is_count(settings, name)), None)
    seeds = [answer.at("generation_settings").content.get("seed") for answer in answers]
    failed = [sample for sample in samples if sample.status == "failed"]
    is_lost = len(failed) == len(samples)
    return bare_run(
        run_id,
        "llama-cpp",
        started_at=min(filter(None, (answer.unix_time("created") for answer in answers)), default=""),
        backend_version=_version(answers),
        kind="speculative" if any("draft_tokens" in sample.engine for sample in samples) else "autoregressive",
        model=model_of("", model) or "unknown",
        quantisation=format_of("", model) or "unknown",
        max_new_tokens=limit,
        ignore_eos=settings.optional(settings.flag, "ignore_eos"),
        sampling=_sampling(settings, seeds),
        conditions={**_conditions(answers[0]), **_seed_policy(seeds)},
        failure=failed[0].reason if is_lost else None,
        cut=cut,
        settings={"model": model} if model else {},
        notes=tuple(_notes(samples, bool(settings.content))),
    )


def _notes(samples: Sequence[Sample], has_settings: bool) -> Iterator[str]:
    yield (
        "the server's clock: it starts with the prompt, so queueing, tokenising and the way to the client are not in "
        "these times; decode speed counts the tokens after the first"
    )
    yield "device, threads and machine are not in an answer; nor is whether answers were made at the same time"
    if not has_settings:
        yield "sampling and token limit are not in the file"
    if any(sample.engine.get("cached_prompt_tokens") for sample in samples):
        yield "parts of prompts came from the server's cache: prompt_tokens are those that were computed"


def _sample(run_id: str, index: int, answer: Fields) -> Sample:
    if not answer.has("timings"):
        return Sample(
            run_id=run_id,
            index=index,
            source_line=answer.line,
            output_tokens=0,
            status="failed",
            reason=f"error: {_error(answer)}"[:200],
        )
    timings = answer.inner("timings")
    tokens = timings.tokens("predicted_n")
    prefill_s, decode_s = timings.milliseconds("prompt_ms"), timings.milliseconds("predicted_ms")
    engine = _engine(timings)
    is_timed = tokens > 1 and decode_s > 0
    prompt = answer.text("prompt") if isinstance(answer.content.get("prompt"), str) else None
    return Sample(
        run_id=run_id,
        index=index,
        source_line=answer.line,
        sample_id=f"prompt-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}" if prompt else None,
        prompt=prompt,
        prompt_tokens=timings.tokens("prompt_n"),
        output_tokens=tokens,
        text=_text(answer),
        finish=_finish(answer),
        duration_s=prefill_s + decode_s if tokens else None,
        first_token_s=prefill_s if tokens else None,
        prefill_s=prefill_s,
        decode_tokens=tokens - 1 if is_timed else None,
        decode_s=decode_s if is_timed else None,
        decode_forwards=tokens - 1 if is_timed and "draft_tokens" not in engine else None,
        engine=engine,
    )


def _engine(timings: Fields) -> dict[str, float]:
    engine: dict[str, float] = {}
    if timings.has("cache_n"):
        engine["cached_prompt_tokens"] = timings.tokens("cache_n")
    if drafted := timings.optional(timings.tokens, "draft_n"):
        accepted = timings.tokens("draft_n_accepted")
        if accepted > drafted:
            raise timings.fail("draft_n_accepted", f"{accepted} accepted of {drafted} drafted")
        engine |= EngineCounters(draft_tokens=drafted, accepted_draft_tokens=accepted).figures()
    return engine


def _choice(answer: Fields) -> Fields | None:
    return next(iter(answer.optional(answer.rows, "choices") or ()), None)


def _text(answer: Fields) -> str | None:
    """Return the answer's text; the last chunk of a stream has none."""
    if isinstance(answer.content.get("content"), str) and answer.content.get("content"):
        return answer.text("content")
    choice = _choice(answer)
    message = choice.inner("message") if choice and choice.has("message") else choice
    for name in ("content", "text"):
        if message and isinstance(message.content.get(name), str):
            return message.text(name)
    return None


def _finish(answer: Fields) -> Literal["stop", "length", "stop-string"] | None:
    choice = _choice(answer)
    told = choice.content.get("finish_reason") if choice else answer.content.get("stop_type")
    return _ENDS.get(told) if isinstance(told, str) else None


def _error(answer: Fields) -> object:
    error = answer.content["error"]
    return error.get("message", error) if isinstance(error, dict) else error


def _version(answers: Sequence[Fields]) -> str | None:
    told = {answer.content.get("system_fingerprint") for answer in answers}
    found = re.fullmatch(r"(b\d{1,9})-([0-9a-f]{5,40})", str(next(iter(told)))) if len(told) == 1 else None
    return f"{found[1]} {found[2]}" if found else None


def _is_count(fields: Fields, name: str) -> bool:
    value = fields.content.get(name)
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS


def _conditions(answer: Fields) -> dict[str, JsonValue]:
    """Return all settings of a request but the seed, which may be another for each."""
    settings = answer.at("generation_settings")
    return {f"generation_settings.{name}": value for name, value in flat(settings.beyond("seed", "prompt")).items()}


def _seed_policy(seeds: Sequence[object]) -> dict[str, JsonValue]:
    """Say how requests were seeded, as far as they say it."""
    if None in seeds:
        return {}
    if _ANY_SEED in seeds:
        return {"seed_policy": "random"}
    return {"seed_policy": "one for all requests" if len(set(seeds)) == 1 else "another for each request"}


def _sampling(settings: Fields, seeds: Sequence[object]) -> RecordedSampling:
    told: dict[str, float] = settings.read({"temperature": Fields.number})
    if settings.has("top_k"):
        told["top_k"] = max(0, int(settings.signed("top_k")))
    if settings.has("top_p") and 0 < settings.signed("top_p") <= 1:  # any other stays among the conditions
        told["top_p"] = settings.number("top_p")
    if settings.has("seed") and len(set(seeds)) == 1 and _ANY_SEED not in seeds:
        told["seed"] = settings.count("seed")
    return RecordedSampling.model_validate(told)
