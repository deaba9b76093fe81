"""Ollama's timings: what `ollama run --verbose` prints, and answers of `/api/generate` and `/api/chat`.

::

    prompt eval count:    409 token(s)
    prompt eval duration: 2m44.614770215s
    eval count:           411 token(s)
    eval duration:        9m43.589092592s

An answer has the same under `prompt_eval_count`, `prompt_eval_duration`, ..., in nanoseconds (ollama/ollama,
`docs/api.md`). Rates are not read: they are computed from counts and durations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of
from ....core.sdk.logs.fields import MOST_TOKENS, Fields
from ....core.sdk.logs.figures import Figure, Gathered, form, gather
from ....core.sdk.logs.json_files import begins_as_answers, read_answers
from ....core.sdk.logs.pages import Block, Labels, blocks, place_of
from ....core.sdk.logs.runs import UNKNOWN, bare_run, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_FIELDS = (
    ("total", "engine.total_s"), ("load", "engine.load_s"), ("prompt eval", "sample.prefill_s"),
    ("eval", "sample.decode_s"),
)  # fmt: skip
_COUNTS = (("prompt eval", "sample.prompt_tokens"), ("eval", "sample.output_tokens"))
_PRINTED = form(
    *(Figure(f"{name} duration", field, "go") for name, field in _FIELDS),
    *(Figure(f"{name} count", field, "count") for name, field in _COUNTS),
    Figure("prompt eval rate", "engine.prompt_tokens_per_s"),
    Figure("eval rate", "engine.tokens_per_s"),
)
ANSWER = form(
    *(Figure(f"{name.replace(' ', '_')}_duration", field, "ns") for name, field in _FIELDS),
    *(Figure(f"{name.replace(' ', '_')}_count", field, "count") for name, field in _COUNTS),
    Figure("response", "sample.text", "any"),
)
_NOT_KEPT = ("context", "message", "model", "created_at")
_LABELS = Labels(_PRINTED)
_COMMAND = re.compile(r"\bollama run (?:--\S{1,40} ){0,5}([a-zA-Z0-9][\w.:/-]{0,200})")
_NOTES = (
    "the server's own clock: eval counts are divided by eval durations, as the tool does; loading, queueing and the "
    "way to the client are in neither speed",
    "device, threads and machine are not in an answer",
)


class OllamaVerbose(LogParser):
    """Reads one run per block of timings; a command above it names its model."""

    name: ClassVar[str] = "ollama-verbose"
    summary: ClassVar[str] = "timings that `ollama run --verbose` prints"
    version: ClassVar[str] = "2"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a block of timings."""
        text = text_of(path)
        return "eval duration" in text and "eval count" in text and any(True for _ in _blocks(text))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield a run and its sample for each block: nothing shows that they are of one model."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = list(_blocks(text))
        if not found:
            raise malformed(path, 1, "eval duration", "no block has it")
        model = UNKNOWN
        for at, block in enumerate(found):
            run_id = f"{base}-{at}"
            where = place_of(block.above, at, len(found))
            model = next((hit[1] for line in reversed(block.above) if (hit := _COMMAND.search(line))), model)
            yield run_of(run_id, model, 1, conditions=where, source_line=block.line)
            yield sample_of(run_id, 0, gather(_PRINTED, block.found), block.line)


class OllamaAnswers(LogParser):
    """Reads one run per model; every answer is a sample."""

    name: ClassVar[str] = "ollama"
    summary: ClassVar[str] = "answers of Ollama's API with their timings: JSON, JSON lines or a stream"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the timings, which end an answer, and for what begins one."""
        text = text_of(path)
        return all(f'"{name}"' in text for name in ("eval_count", "eval_duration", "done")) and begins_as_answers(text)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each model's run and its answers."""
        found = read_answers(path)
        ended = [row for row in found.rows if row.has("eval_count") and row.has("eval_duration")]
        if not ended:
            raise malformed(path, 1, "eval_duration", "no answer that ended has it")
        by_model: dict[str, list[Fields]] = {}
        for row in ended:
            by_model.setdefault(str(row.content.get("model") or UNKNOWN), []).append(row)
        for at, (model, rows) in enumerate(by_model.items()):
            run_id = f"sha256-{found.digest}-{at}"
            times = sorted(str(row.content["created_at"]) for row in rows if row.has("created_at"))
            about = {"started_at": times[0] if times else ""}
            about |= {"status": "incomplete", "reason": found.cut} if found.cut else {}
            yield run_of(run_id, model, len(rows), **about)
            for index, row in enumerate(rows):
                figures = gather(ANSWER, {n: v for n, v in row.content.items() if n not in _NOT_KEPT})
                yield sample_of(run_id, index, figures, row.line)


def _blocks(text: str) -> Iterator[Block]:
    return blocks(text.split("\n"), _LABELS, "eval duration", "total duration")


def run_of(run_id: str, model: str, samples: int, **known: Any) -> Run:  # noqa: ANN401 - fields of Run
    """Return the run of some answers of one model."""
    return bare_run(
        run_id,
        "ollama",
        kind="autoregressive",
        model=model,
        quantisation=format_of("", model) or UNKNOWN,
        samples=samples,
        notes=_NOTES,
        **known,
    )


def sample_of(run_id: str, index: int, gathered: Gathered, line: int) -> Sample:
    """Return one answer, which begins on a line."""
    found = gathered.sample
    tokens = found.get("output_tokens")
    if tokens is None or tokens > MOST_TOKENS or not found.get("decode_s"):
        found.pop("decode_s", None)
    else:
        found["decode_tokens"] = tokens
    finish = gathered.extra.pop("done_reason", None)
    gathered.extra.pop("done", None)
    return gathered.as_sample(
        run_id,
        index,
        source_line=line,
        finish=finish if finish in ("stop", "length") else None,
        extra=gathered.extra,
    )
