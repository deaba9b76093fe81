"""Answers of MLC-LLM's engine or server with `usage.extra`: one object, an array, one a line, or a stream of events.

The engine's clock starts when the request is added. `ttft_s` runs until the prefill has made the first token, so the
rest of `end_to_end_latency_s` is the time of `completion_tokens - 1` tokens. Its `inter_token_latency_s` divides the
whole latency by all tokens, and its `decode_tokens` count tokens that speculation rolled back: neither is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.json_files import has_answers, read_answers
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.text import malformed
from .model_names import split_name

_EXTRA = re.compile(r'"extra"\s*:\s*\{[^{}]*"end_to_end_latency_s"\s*:')
_ENDS: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length", "tool_calls": "stop"}


class Answers(LogParser):
    """Reads one run per file and model; every answer is a sample."""

    name = "mlc-answers"
    summary = "answers of MLC-LLM with usage.extra: JSON, JSON lines or a stream of events"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the figures in the usage, which stands at the end of an answer."""
        return has_answers(path, head, _EXTRA)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield a run per model and its answers.

        Raises:
            RawLogError: the file is cut within an answer, or a value is of the wrong kind; names line and field.
        """
        content = read_answers(path)
        texts = _texts(content.rows)
        answers: dict[str, list[Fields]] = {}
        for row in content.rows:
            if row.at("usage", "extra").has("end_to_end_latency_s"):
                answers.setdefault(str(row.content.get("model") or ""), []).append(row)
        if not answers:
            raise malformed(path, 1, "usage.extra", "no answer has it")
        for at, (model, of_model) in enumerate(answers.items()):
            run_id = f"sha256-{content.digest}-{at}"
            samples = [_sample(run_id, index, answer, texts) for index, answer in enumerate(of_model)]
            yield _run(run_id, model, of_model, samples, content.cut)
            yield from samples


def _texts(rows: Sequence[Fields]) -> dict[str, str]:
    """Return the text of every answer by its id: its message, or the pieces of its stream."""
    texts: dict[str, str] = {}
    for row in rows:
        name = row.content.get("id")
        for choice in row.rows("choices") if row.has("choices") and isinstance(name, str) else ():
            part = next((choice.inner(key) for key in ("message", "delta") if choice.has(key)), choice)
            piece = part.content.get("content") or part.content.get("text")
            if isinstance(piece, str):
                texts[str(name)] = texts.get(str(name), "") + piece
    return texts


def _sample(run_id: str, index: int, answer: Fields, texts: dict[str, str]) -> Sample:
    extra = answer.inner("usage").inner("extra")
    tokens, prompt = extra.tokens("completion_tokens"), extra.tokens("prompt_tokens")
    computed = extra.tokens("prefill_tokens") if extra.has("prefill_tokens") else prompt
    total_s, first_s = extra.number("end_to_end_latency_s"), extra.optional(extra.number, "ttft_s")
    if first_s is not None and first_s > total_s:
        raise extra.fail("ttft_s", f"{first_s:g} s are more than the whole {total_s:g} s")
    is_timed = tokens > 1 and first_s is not None and total_s > first_s
    is_plain = extra.content.get("decode_tokens") == tokens - 1
    choices = answer.optional(answer.rows, "choices")
    end = choices[0].content.get("finish_reason") if choices else None
    return Sample(
        run_id=run_id,
        index=index,
        source_line=answer.line,
        prompt_tokens=computed,
        output_tokens=tokens,
        text=texts.get(str(answer.content.get("id"))),
        finish=_ENDS.get(end) if isinstance(end, str) else None,
        duration_s=total_s,
        first_token_s=first_s if tokens else None,
        prefill_s=first_s,
        decode_tokens=tokens - 1 if is_timed else None,
        decode_s=total_s - first_s if is_timed and first_s is not None else None,
        decode_forwards=tokens - 1 if is_timed and is_plain else None,
        engine={"cached_prompt_tokens": prompt - computed} if prompt > computed else {},
    )


def _run(run_id: str, name: str, answers: Sequence[Fields], samples: Sequence[Sample], cut: str | None) -> Run:
    model, quantisation = split_name(name)
    return bare_run(
        run_id,
        "mlc",
        started_at=min(filter(None, (answer.unix_time("created") for answer in answers)), default=""),
        model=model,
        quantisation=quantisation,
        cut=cut,
        settings={"model": name} if name else {},
        notes=tuple(_notes(samples)),
    )


def _notes(samples: Sequence[Sample]) -> Iterator[str]:
    yield (
        "the engine's clock: it starts when a request is added, so prefill and time to first token hold the wait for "
        "other requests; prompt_tokens are those that were computed, not the cached ones"
    )
    yield "device, machine, sampling and token limit are not in an answer"
    if any(sample.decode_tokens and sample.decode_forwards is None for sample in samples):
        yield "the engine decoded another number of tokens than it gave out: speculation, or several answers at once"
