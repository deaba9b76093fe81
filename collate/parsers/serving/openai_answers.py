"""Answers of OpenAI-compatible servers that count tokens in `usage` and say nothing of times.

::

    {"id": "cmpl-1", "object": "text_completion", "model": "tiny", "choices": [...],
     "usage": {"prompt_tokens": 3, "completion_tokens": 4}}

One object, an array, one a line, or a stream with `stream_options: {"include_usage": true}`, also as curl or HTTPie
print it. The time is curl's own where `-w 'time_total: %{time_total}'` put it below the answer. Servers that time
their answers (llama-server, Ollama, MLC-LLM) have formats of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import MOST_TOKENS, Fields, number
from ....core.sdk.logs.json_files import begins_as_answers, read_answers
from ....core.sdk.logs.runs import UNKNOWN, bare_run
from ....core.sdk.logs.structure import text_of
from ....core.sdk.logs.text import malformed

_ANSWER = re.compile(r'"object"\s*:\s*"(?:text_completion|chat\.completion(?:\.chunk)?)"')
_USAGE = re.compile(r'"completion_tokens"\s*:\s*\d')
_TIMED = re.compile(r'"(?:predicted_ms|end_to_end_latency_s|eval_duration)"\s*:')
_TIME_TOTAL = re.compile(r"\btime_total\"?(?: ?[:=] ?|\s+)(\d{1,6}[.,]\d{1,9})")
_ENGINE = re.compile(r"(vllm)-(\S{1,100})")
_ENDS: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length", "tool_calls": "stop"}


class OpenaiAnswers(LogParser):
    """Reads one run per model; every answer is a sample."""

    name: ClassVar[str] = "openai-answers"
    summary: ClassVar[str] = "answers of OpenAI-compatible servers with their usage: JSON, JSON lines or a stream"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for an answer with its usage, and without times of the server."""
        text = text_of(path)
        is_counted = "completion_tokens" in text and _ANSWER.search(text) and _USAGE.search(text)
        return bool(is_counted) and not _TIMED.search(text) and begins_as_answers(text)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each model's run and its answers.

        Raises:
            RawLogError: no answer has its usage, or a value is of the wrong kind; names line and field.
        """
        found = read_answers(path)
        answers: dict[str, list[Sequence[Fields]]] = {}
        for rows in _by_answer(found.rows):
            if any(_is_counted(row) for row in rows):
                answers.setdefault(str(rows[-1].content.get("model") or UNKNOWN), []).append(rows)
        if not answers:
            raise malformed(path, 1, "usage", "no answer has it")
        times = _times(path, [rows[-1].line for several in answers.values() for rows in several])
        for at, (model, several) in enumerate(answers.items()):
            run_id = f"sha256-{found.digest}-{at}"
            samples = [_sample(run_id, index, rows, times) for index, rows in enumerate(several)]
            yield _run(run_id, model, several, samples, found.cut)
            yield from samples


def _by_answer(rows: Sequence[Fields]) -> list[list[Fields]]:
    """Put the chunks of each stream together; an answer that is whole stands alone."""
    found: dict[str, list[Fields]] = {}
    for at, row in enumerate(rows):
        name = row.content.get("id") if row.content.get("object") != "chat.completion" else None
        found.setdefault(f"id {name}" if isinstance(name, str) else f"row {at}", []).append(row)
    return list(found.values())


def _is_counted(row: Fields) -> bool:
    return row.has("usage") and row.inner("usage").has("completion_tokens")


def _times(path: Path, lines: Sequence[int]) -> dict[int, float]:
    """Return curl's times by the lines of the answers that they stand below."""
    found: dict[int, float] = {}
    ordered = sorted(lines)
    for at, line in enumerate(text_of(path).split("\n"), start=1):
        if "time_total" in line and (hit := _TIME_TOTAL.search(line)) and (place := bisect_right(ordered, at)):
            found.setdefault(ordered[place - 1], number(path, at, "time_total", hit[1]))
    return found


def _run(
    run_id: str, model: str, answers: Sequence[Sequence[Fields]], samples: Sequence[Sample], cut: str | None
) -> Run:
    first = answers[0][0]
    engine = _ENGINE.match(str(answers[0][-1].content.get("system_fingerprint")))
    is_timed = any(sample.duration_s for sample in samples)
    return bare_run(
        run_id,
        engine[1] if engine else UNKNOWN,
        backend_version=engine[2] if engine else None,
        started_at=min(filter(None, (rows[0].unix_time("created") for rows in answers)), default=""),
        model=model_of("", model) or UNKNOWN if model.endswith(".gguf") else model,
        quantisation=format_of("", model) or UNKNOWN,
        samples=len(samples),
        status="incomplete" if cut else "ok",
        reason=cut,
        source_line=first.line,
        settings={"model": model} if model != UNKNOWN else {},
        notes=(
            "the client's time (curl's time_total): connecting, queueing and the prompt are in it"
            if is_timed
            else "the server counts tokens and says nothing of times: there are no speeds",
            "device, sampling and token limit are not in an answer; nor is whether answers were made at the same time",
        ),
    )


def _sample(run_id: str, index: int, rows: Sequence[Fields], times: Mapping[int, float]) -> Sample:
    usage = next(row.inner("usage") for row in reversed(rows) if _is_counted(row))
    cached = usage.at("prompt_tokens_details").optional(usage.at("prompt_tokens_details").count, "cached_tokens")
    ends = [choice.content.get("finish_reason") for row in rows for choice in _choices(row)]
    return Sample(
        run_id=run_id,
        index=index,
        source_line=rows[0].line,
        prompt_tokens=usage.optional(usage.tokens, "prompt_tokens"),
        output_tokens=usage.count("completion_tokens", most=MOST_TOKENS),
        text=_text(rows),
        finish=next((_ENDS[end] for end in ends if isinstance(end, str) and end in _ENDS), None),
        duration_s=times.get(rows[-1].line),
        engine={"cached_prompt_tokens": cached} if cached is not None else {},
    )


def _choices(row: Fields) -> list[Fields]:
    return row.rows("choices") if row.has("choices") else []


def _text(rows: Sequence[Fields]) -> str | None:
    """Return the text of the first choice, or of its pieces."""
    pieces = []
    for row in rows:
        for choice in _choices(row)[:1]:
            part = next((choice.inner(name) for name in ("message", "delta") if choice.has(name)), choice)
            pieces.append(part.content.get("content") or part.content.get("text"))
    texts = [piece for piece in pieces if isinstance(piece, str)]
    return "".join(texts) if texts else None
