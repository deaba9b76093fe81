"""The text log that a public engine-comparison workflow writes of MLC-LLM.

::

    framework: mlc_llm

    === Results ===
    {"run": 1, "tokens": 20, "time_s": 0.5, "tok_per_sec": 40.0}

    avg_tok_per_sec: 40.00

Nine header lines come first. A time is the wall time of a whole call, prefill included; no call is a warm-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.raw_log import RawLogError
from ....core.records.schema import Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields
from ....core.sdk.logs.json_files import parse_object
from ....core.sdk.logs.printed import without_colours
from ....core.sdk.logs.text import head_text, read_text
from ....core.sdk.logs.workflow_header import Facts

_FRAMEWORK = "framework: mlc_llm"
_AVERAGE = re.compile(r"avg_tok_per_sec: [0-9.]+")
_AGREEING = 0.01  # a printed rate and tokens / time differ by rounding alone


class MlcTextLog(LogParser):
    """Reads one run per file; every call is a sample."""

    name = "mlc-text"
    summary = "text log of MLC-LLM in an engine-comparison workflow"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the line that names the framework."""
        return _FRAMEWORK in without_colours(head_text(head)).split("\n")[:40]

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and a sample per call.

        Raises:
            RawLogError: a line of results is damaged, or its figures contradict one another; names line and field.
        """
        text = read_text(path)
        lines = without_colours(text).split("\n")
        facts = Facts.read(path, lines)
        run_id = facts.run_id(text)
        calls = list(_calls(path, lines))
        samples = [_sample(run_id, index, call) for index, call in enumerate(calls)]
        yield _run(run_id, facts, samples, is_whole=any(_AVERAGE.fullmatch(line) for line in lines))
        yield from samples


def _calls(path: Path, lines: Sequence[str]) -> Iterator[Fields]:
    last = max((at for at, line in enumerate(lines) if line.strip()), default=0)
    for at, line in enumerate(lines):
        if line.startswith("{"):
            try:
                yield parse_object(path, at + 1, line)
            except RawLogError:
                if at != last:
                    raise


def _sample(run_id: str, index: int, call: Fields) -> Sample:
    tokens, seconds = call.count("tokens", most=MOST_TOKENS), call.number("time_s")
    if call.has("tok_per_sec") and seconds:
        rate = call.number("tok_per_sec")
        if abs(rate * seconds - tokens) > _AGREEING * max(tokens, 1):
            raise call.fail("tok_per_sec", f"{rate:g} tokens/s is not {tokens} tokens in {seconds:g} s")
    return Sample(
        run_id=run_id,
        index=index,
        source_line=call.line,
        sample_id=f"call-{call.count('run', least=1)}",
        output_tokens=tokens,
        duration_s=seconds or None,
    )


def _run(run_id: str, facts: Facts, samples: Sequence[Sample], *, is_whole: bool) -> Run:
    return facts.run(
        run_id,
        "mlc",
        samples=len(samples) if is_whole else None,
        failure=None if samples else "no call in the log: the run crashed before its first one ended",
        cut=None if is_whole else "the log ends before its average: it was cut, or the run died",
        notes=(
            *facts.notes(),
            "a time is that of a whole call, prefill included: it tells an end-to-end speed and no decode speed",
            "no call is a warm-up: the first one may hold start-up work",
            "the log names no model: `model` is its size label; device and quantisation are the wrapper's words, "
            "and its seed has no effect",
        ),
    )
