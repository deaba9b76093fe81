"""Answer files of Spec-Bench (`model_answer/*.jsonl`), and of the many scripts that took over its `evaluation/eval.py`.

::

    {"question_id": 81, "category": "writing", "answer_id": ..., "model_id": "vicuna-7b-v1.3-eagle2-float16",
     "choices": [{"index": 0, "turns": [text, text], "decoding_steps": [88, 31], "new_tokens": [301, 98],
                  "wall_time": [4.1, 1.4], "accept_lengths": [3, 4, ...]}], "tstamp": 1712345678.9}

A turn is one generation, hence a sample. `accept_lengths` runs over all turns of a choice, one entry per verify
cycle, and counts all tokens of the cycle, that of the target included. Layout as in hemingkx/Spec-Bench (fd2c1cd),
`evaluation/eval.py`, and the names of methods as in its `eval.sh`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedSampling, RecordedStep, Run, Sample
from ...core.sdk.logs.fields import MOST_TOKENS, Fields
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.json_files import read_rows
from ...core.sdk.logs.runs import UNKNOWN, bare_run

_METHOD = re.compile(
    r"(?P<model>.+?)-(?P<method>vanilla|sps|medusa|eagle[23]?|lade|pld|rest|hydra|space|recycling|samd)"
    r"(?:-(?P<rest>.+))?"
)
_TEMPERATURE = re.compile(
    r"(?:temp(?:erature)?[-_ =]?|(?<![a-z])t=)([0-9]{1,3}(?:\.[0-9]{1,9})?)(?![0-9a-z])", re.IGNORECASE
)
_FORMAT = re.compile(r"float16|float32|float64|bfloat16")
_FAILED = "ERROR"
_EXCEPTION = "the script caught an exception and wrote 'ERROR'"


class SpecBench(JsonFormat):
    """Reads one run per model id; every turn of every choice is a sample."""

    name = "spec-bench"
    summary = "answer files of Spec-Bench (JSONL)"
    version = "3"
    keys = ("question_id", "model_id", "choices", "new_tokens", "wall_time")

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each method's run and its turns."""
        found = read_rows(path)
        by_model: dict[str, list[Fields]] = {}
        for row in found.rows:
            by_model.setdefault(row.text("model_id"), []).append(row)
        for at, (model_id, rows) in enumerate(by_model.items()):
            run_id = f"sha256-{found.digest}-{at}"
            turns = [turn for row in rows for turn in _turns(row)]
            yield _run(run_id, model_id, turns, found.cut, path.stem if len(by_model) == 1 else "")
            yield from _records(run_id, turns)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One generation.

    Attributes:
        sample_id: category, question, turn and choice.
        tokens: new tokens.
        seconds: wall time, prefill included.
        text: the answer.
        lengths: tokens of each verify cycle; None where the file does not tell them for this turn.
        extra: what else the file has of the answer.
    """

    sample_id: str
    tokens: int
    seconds: float
    text: str
    lengths: list[int] | None
    extra: dict[str, JsonValue]


def _turns(row: Fields) -> Iterator[_Turn]:
    question = f"{row.scalar('category')}/{row.scalar('question_id')}" if row.has("category") else ""
    question = question or str(row.scalar("question_id"))
    for choice in row.rows("choices"):
        tokens, texts = choice.counts("new_tokens", most=MOST_TOKENS), choice.items("turns")
        if not len(texts) == len(tokens) == len(choice.items("wall_time")):
            raise choice.fail("turns", "turns, new_tokens and wall_time are not lists of one length")
        seconds = _seconds(choice, texts)
        number = choice.optional(choice.count, "index")
        lengths = _by_turn(choice, len(tokens))
        for turn in range(len(tokens)):
            sample_id = f"{question}/turn {turn}" + (f"/choice {number}" if number else "")
            extra = row.beyond("question_id", "category", "model_id", "choices")
            yield _Turn(sample_id, tokens[turn], seconds[turn], str(texts[turn]), lengths[turn], extra)


def _seconds(choice: Fields, texts: Sequence[object]) -> list[float]:
    """Return the time of each turn; of one that failed the script writes the time before it, or NaN."""
    pairs = zip(texts, choice.items("wall_time"), strict=True)
    times = [0.0 if text == _FAILED else seconds for text, seconds in pairs]
    return Fields(choice.path, choice.line, {"wall_time": times}, choice.within).times("wall_time")


def _by_turn(choice: Fields, turns: int) -> list[list[int] | None]:
    """Cut the list of cycles into turns: by the number of steps of each, where they add up."""
    if not choice.has("accept_lengths"):
        return [None] * turns
    lengths = choice.counts("accept_lengths", most=MOST_TOKENS)
    steps = choice.counts("decoding_steps", most=MOST_TOKENS) if choice.has("decoding_steps") else []
    if len(steps) != turns or sum(steps) != len(lengths):
        return [lengths] if turns == 1 else [None] * turns
    ends = [sum(steps[: turn + 1]) for turn in range(turns)]
    return [lengths[end - count : end] for end, count in zip(ends, steps, strict=True)]


def _run(run_id: str, model_id: str, turns: Sequence[_Turn], cut: str | None, file_name: str) -> Run:
    named = _METHOD.fullmatch(model_id)
    rest = (named["rest"] if named else None) or ""
    temperature = _TEMPERATURE.search(rest) or _TEMPERATURE.search(file_name)
    weights = _FORMAT.search(rest)
    lost = bool(turns) and all(turn.text == _FAILED for turn in turns)
    return bare_run(
        run_id,
        named["method"] if named else "spec-bench",
        kind="speculative" if _has_cycles(turns) else "autoregressive" if any(t.lengths for t in turns) else None,
        model=named["model"] if named else model_id,
        quantisation=weights[0] if weights else UNKNOWN,
        options={"variant": rest} if rest else {},
        task="spec-bench",
        samples=None if cut else len(turns),
        sampling=RecordedSampling(temperature=float(temperature[1]) if temperature else None),
        failure=_EXCEPTION if lost else None,
        cut=cut,
        notes=tuple(_notes(turns, bool(named))),
    )


def _has_cycles(turns: Sequence[_Turn]) -> bool:
    return any(length > 1 for turn in turns for length in turn.lengths or ())


def _notes(turns: Sequence[_Turn], is_named: bool) -> Iterator[str]:
    yield "wall time holds the prefill: there is neither a first token nor a decode speed"
    yield "the published script answers the first question three times as warm-up; the file does not say so"
    yield "the prompt of a later turn holds the answers before it, which differ between methods"
    if is_named:
        yield "method, weights and temperature are read from model_id, or the latter from the file's name"
    failed = sum(turn.text == _FAILED for turn in turns)
    if failed:
        yield f"{failed} turns failed; the script recorded them with time and tokens of the turn before"
    if not _has_cycles(turns):
        return
    yield "cycles tell the tokens they gained, not how many were drafted: tau is known, the acceptance rate is not"
    odd = sum(_first_tokens(turn) is None for turn in turns if turn.text != _FAILED)
    if odd:
        yield f"{odd} turns have cycles that do not add up to new_tokens: they have no steps"


def _first_tokens(turn: _Turn) -> int | None:
    """Return how many tokens came before the first cycle, none or the prefill's one; None where they do not add up."""
    before = turn.tokens - sum(turn.lengths or ())
    return before if turn.lengths and before in (0, 1) else None


def _records(run_id: str, turns: Sequence[_Turn]) -> Iterator[Sample | RecordedStep]:
    has_cycles = _has_cycles(turns)
    for index, turn in enumerate(turns):
        about: dict[str, Any] = {"run_id": run_id, "index": index, "sample_id": turn.sample_id, "extra": turn.extra}
        if turn.text == _FAILED:
            yield Sample(**about, output_tokens=0, finish="error", status="failed", reason=_EXCEPTION)
            continue
        yield Sample(**about, output_tokens=turn.tokens, text=turn.text, duration_s=turn.seconds)
        first = _first_tokens(turn)
        if has_cycles and first is not None:
            yield from _steps(run_id, index, first, turn.lengths or [])


def _steps(run_id: str, index: int, first_tokens: int, lengths: Sequence[int]) -> Iterator[RecordedStep]:
    """Yield the prefill as step 0, and a step per verify cycle; none has a time."""
    yield RecordedStep(run_id=run_id, sample=index, index=0, tokens=first_tokens)
    for at, length in enumerate(lengths, start=1):
        yield RecordedStep(run_id=run_id, sample=index, index=at, tokens=length, accepted=max(0, length - 1))


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of Spec-Bench's answers."""
    return [SpecBench]
