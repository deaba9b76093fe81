"""The text log of tinygrad's Llama example run with ``--benchmark``, as a wrapper that adds a header stores it.

::

    seed = 42
    loaded weights in 4639.73 ms, 4.94 GB loaded at 1.07 GB/s
    enqueue in   1.16 ms                                                    one step: enqueue, total,
    total  37.88 ms, 26.40 tok/s, 234.22 GB/s, param 158.34 GB/s
    Hello! How can                                                          then the whole text so far

The header (``platform: Darwin`` and eight more lines) stands where the wrapper's buffer was flushed: at the top, at the
end, or not at all.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedStep, Run, Sample, Status
from ...core.sdk.logs.printed import without_colours
from ...core.sdk.logs.text import head_text, malformed, read_text
from ...core.sdk.logs.workflow_header import HEADER, HEADER_LINE, Facts

UNKNOWN = "unknown"

_NUMBER = r"([0-9]{1,9}\.[0-9]{2})"
_SEED = re.compile(r"seed = ([0-9]{1,18})")
_WEIGHTS = re.compile(rf"loaded weights in\s+{_NUMBER} ms, {_NUMBER} GB loaded at\s+{_NUMBER} GB/s")
_ENQUEUE = re.compile(rf"enqueue in\s+{_NUMBER} ms(?:, .*)?")
_TOTAL = re.compile(rf"total\s+{_NUMBER} ms, {_NUMBER} tok/s, {_NUMBER} GB/s, param {_NUMBER} GB/s")
_VALIDATED = re.compile(r"(?:\x1b\[[0-9;]*m)+\s*output validated\s*(?:\x1b\[[0-9;]*m)*")
_BITS = {"default": 32.0, "float16": 16.0}
"""Bits per weight by the wrapper's word, where every weight has as many; `default` computes in float32."""
_HEADER_RUN = 3
"""Header lines that must follow one another where generated text, too, could hold a line such as ``size: large``."""


@dataclass(slots=True)
class _LogStep:
    """One step as printed: milliseconds and decimal GB/s, two decimals each."""

    line: int  # of the total, from 1
    enqueue_ms: float
    total_ms: float
    tokens_per_s: float
    gb_per_s: float
    param_gb_per_s: float
    text: list[str] = field(default_factory=list)  # the lines below it: the whole text so far


@dataclass(slots=True)
class _Log:
    facts: dict[str, str]  # the header's, and the engine's seed
    load_s: float | None = None
    loaded_bytes: float | None = None  # rounded to 10 MB
    steps: list[_LogStep] = field(default_factory=list)
    cut: str | None = None  # how one sees that the end is missing


class TinygradTextLog(LogParser):
    """Reads one run per file; every step is one token."""

    name: ClassVar[str] = "tinygrad"
    summary: ClassVar[str] = "text log of tinygrad's Llama example with --benchmark"
    version: ClassVar[str] = "3"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a whole metric line, or for the log of a run that died before its first step."""
        lines = _lines(head_text(head))
        if any(_TOTAL.fullmatch(line) or _WEIGHTS.fullmatch(line) for line in lines):
            return True
        early = [line for line in lines if line and not HEADER_LINE.fullmatch(line)]
        return bool(early) and all(_SEED.fullmatch(line) or _ENQUEUE.fullmatch(line) for line in early)

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the run, its one sample (none where it crashed) and a step per token.

        Raises:
            RawLogError: it is no text, or figures contradict one another; names line and field.
        """
        text = read_text(path)
        log = _parse(path, text)
        facts = Facts(log.facts, path)
        run_id = facts.run_id(text)
        seconds, weight_bytes = _agreeing(path, log.steps)
        pieces, rewritten = _pieces([step.text for step in log.steps])
        yield _run(run_id, log, facts, weight_bytes, rewritten)
        if log.steps:
            yield from _sample(run_id, log.steps, seconds, pieces)


def _lines(text: str) -> list[str]:
    """Return the lines without colours, where those of figures have some; else they are of the generated text.

    One of the engine's own lines is known by its colour.
    """
    lines = text.split("\n")
    if without_colours(text) == text:
        return lines
    plain = [line if _VALIDATED.fullmatch(line) else without_colours(line) for line in lines]
    painted = (line for line, as_is in zip(plain, lines, strict=True) if line != as_is)
    return plain if any(own.fullmatch(line) for line in painted for own in (_TOTAL, _ENQUEUE, _WEIGHTS)) else lines


def _parse(path: Path, text: str) -> _Log:
    lines = _lines(text)
    unfinished = lines.pop()  # "" in a whole file
    header = _header_lines(lines)
    log = _Log({key: value.strip() for key, value in header.values()})
    enqueue: tuple[int, float] | None = None
    for number, line in enumerate(lines, start=1):
        if number in header or ("validated" in line and _VALIDATED.fullmatch(line)):
            continue
        if line.startswith("enqueue") and (found := _ENQUEUE.fullmatch(line)):
            if enqueue:
                raise malformed(path, number, "enqueue", f"the step that line {enqueue[0]} began has no 'total' line")
            enqueue = number, float(found[1])
        elif line.startswith("total") and (found := _TOTAL.fullmatch(line)):
            if not enqueue:
                raise malformed(path, number, "total", "no 'enqueue' line comes before it")
            total_ms, rate, moved, moved_weights = map(float, found.groups())
            log.steps.append(_LogStep(number, enqueue[1], total_ms, rate, moved, moved_weights))
            enqueue = None
        elif log.steps and not enqueue:
            log.steps[-1].text.append(line)
        elif not log.steps:
            _take_preamble(log, line)
    log.cut = _cut(log.steps, len(lines), bool(unfinished), is_enqueued=bool(enqueue))
    return log


def _take_preamble(log: _Log, line: str) -> None:
    if found := _SEED.fullmatch(line):
        log.facts["seed"] = found[1]
    elif (found := _WEIGHTS.fullmatch(line)) and float(found[2]) > 0:
        log.load_s, log.loaded_bytes = float(found[1]) / 1e3, float(found[2]) * 1e9


def _header_lines(lines: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Return (key, value) by line number.

    Before the first step any such line is header; below it only a run of them in the wrapper's order is, since the
    generated text may hold such a line too.
    """
    named = ((number, line) for number, line in enumerate(lines, 1) if ":" in line)
    found = {number: (m[1], m[2]) for number, line in named if (m := HEADER_LINE.fullmatch(line))}
    first_step = next((n for n, line in enumerate(lines, 1) if _ENQUEUE.fullmatch(line)), math.inf)
    header: dict[int, tuple[str, str]] = {}
    run: list[int] = []
    for number, (key, _) in found.items():
        if number < first_step:
            header[number] = found[number]
            continue
        follows = run and number == run[-1] + 1 and HEADER.index(key) > HEADER.index(found[run[-1]][0])
        run = [*run, number] if follows else [number]
        if len(run) >= _HEADER_RUN:
            header.update({line: found[line] for line in run})
    return header


def _cut(steps: Sequence[_LogStep], lines: int, is_unfinished: bool, *, is_enqueued: bool) -> str | None:
    if is_unfinished:
        return f"the log ends inside its line {lines + 1}, which is left out: it was cut"
    if is_enqueued:
        return "the log ends after an 'enqueue' line without its 'total': the run died in that step"
    if steps and not steps[-1].text and any(step.text for step in steps):
        return "the log ends before the text of its last step: it was cut"
    return None


def _rounded_from(printed: float) -> tuple[float, float]:
    """Return the values that print so with two decimals; the factors allow for the last bit of the printer's sum."""
    return max(0.0, (printed - 0.005) * (1 - 1e-12)), (printed + 0.005) * (1 + 1e-12)


def _inverse(span: tuple[float, float], scale: float) -> tuple[float, float]:
    return scale / span[1], scale / span[0] if span[0] else math.inf


def _agreeing(path: Path, steps: Sequence[_LogStep]) -> tuple[list[float], int | None]:
    """Return each step's seconds and the run's weight bytes, in agreement with every printed figure.

    The engine prints the time x of a step four times, as x, 1/x, bytes/x and weights/x, each rounded. The printed x is
    kept where it agrees with the others, and else moved within its rounding as far as they ask for.

    Raises:
        RawLogError: no time agrees: a figure is damaged.
    """
    spans = []
    for step in steps:
        low, high = _rounded_from(step.total_ms)
        other_low, other_high = _inverse(_rounded_from(step.tokens_per_s), 1e3)
        spans.append((max(low, other_low), min(high, other_high)))
        if spans[-1][0] > spans[-1][1]:
            text = f"{step.tokens_per_s:.2f} tok/s is not one token in {step.total_ms:.2f} ms"
            raise malformed(path, step.line, "tok/s", text)
    if not any(step.param_gb_per_s for step in steps):
        return [_nearest(step.total_ms, *span) / 1e3 for step, span in zip(steps, spans, strict=True)], None
    weight_mb = _weight_mb(path, steps, spans)
    seconds = []
    for step, (low, high) in zip(steps, spans, strict=True):
        other_low, other_high = _inverse(_rounded_from(step.param_gb_per_s), weight_mb)
        seconds.append(_nearest(step.total_ms, max(low, other_low), min(high, other_high)) / 1e3)
    return seconds, round(weight_mb * 1e6)


def _weight_mb(path: Path, steps: Sequence[_LogStep], spans: Sequence[tuple[float, float]]) -> float:
    """Return the weights' megabytes (GB/s times ms), the same in all steps."""
    middle = statistics.median(step.param_gb_per_s * step.total_ms for step in steps)
    bounds = []
    for step, (low, high) in zip(steps, spans, strict=True):
        slowest, fastest = _rounded_from(step.param_gb_per_s)
        bounds.append((slowest * low, fastest * high))
    lowest, highest = max(low for low, _ in bounds), min(high for _, high in bounds)
    if lowest > highest:
        far = [max(low - middle, middle - high) for low, high in bounds]
        step = steps[far.index(max(far))]
        text = f"{step.param_gb_per_s:.2f} GB/s in {step.total_ms:.2f} ms tells another weight size than other steps do"
        raise malformed(path, step.line, "param", text)
    return _nearest(middle, lowest, highest)


def _nearest(value: float, low: float, high: float) -> float:
    """Return what is nearest to ``value`` and off the edges, where rounding could go either way."""
    margin = (high - low) / 100
    return min(max(value, low + margin), high - margin)


def _pieces(texts: Sequence[Sequence[str]]) -> tuple[list[str | None], int]:
    """Return each step's own piece of text, and how many steps changed what stood there before.

    A character whose bytes span several tokens prints as U+FFFD until it is whole; it belongs to the step that
    completes it. A step without text, or one that changes earlier text, has no piece.
    """
    pieces: list[str | None] = []
    before, rewritten = "", 0
    for index, lines in enumerate(texts):
        if not lines:
            pieces.append(None)
            continue
        text = "\n".join(lines)
        text = text if index == len(texts) - 1 else text.rstrip("\ufffd")
        extends = text.startswith(before)
        pieces.append(text[len(before) :] if extends else None)
        rewritten += not extends
        before = text
    return pieces, rewritten


def _run(run_id: str, log: _Log, facts: Facts, weight_bytes: int | None, rewritten: int) -> Run:
    return facts.run(
        run_id,
        "tinygrad",
        seed=facts.seed(),
        samples=1,
        load_s=log.load_s,
        derived=("weight_bytes",) if weight_bytes else (),
        parameters=_parameters(log, facts),
        weight_bytes=weight_bytes,
        bits_per_weight=_BITS.get(facts.get("quantize") or ""),
        notes=tuple(_notes(log, facts, rewritten)),
        **_outcome(log),
    )


def _parameters(log: _Log, facts: Facts) -> int | None:
    """Return the parameters, tied ones once, of a format in which all have one width; else the bytes do not tell."""
    bits = _BITS.get(facts.get("quantize") or "")
    return round(8 * log.loaded_bytes / bits) if bits and log.loaded_bytes else None


def _outcome(log: _Log) -> dict[str, Status | str | None]:
    if not log.steps:
        return {"status": "failed", "reason": "no step in the log: the run crashed before its first token"}
    return {"status": "incomplete" if log.cut else "ok", "reason": log.cut}


def _notes(log: _Log, facts: Facts, rewritten: int) -> Iterator[str]:
    yield from facts.notes()
    yield "the log names no model: `model` is its size label"
    yield ("not in the log: prompt, prefill, sampling, token limit, time of day")
    if not log.steps:
        return
    yield "step 0 is the engine's warm-up, not a prefill: there is no time to first token"
    yield (
        "the log prints two decimals: step_s is the time within that rounding with which all figures of a line "
        "agree, engine_s the printed one; weight_bytes follows from the param figures"
    )
    if log.load_s is None:
        yield "load time unknown: the timed load moved no weights, or is not in the log"
    else:
        yield "load_s is the time of the weights alone, without the engine's import"
        if facts.get("quantize") in _BITS:
            yield (
                "parameters are estimated: the loaded gigabytes, printed with two decimals, by the width of the "
                "format; weight_bytes counts tied weights twice, as the engine does"
            )
    if rewritten:
        yield f"{rewritten} steps print a text that does not extend the one before; they have no text of their own"


def _sample(
    run_id: str, steps: Sequence[_LogStep], seconds: Sequence[float], pieces: Sequence[str | None]
) -> Iterator[Sample | RecordedStep]:
    texts = [step.text for step in steps if step.text]
    yield Sample(
        run_id=run_id,
        index=0,
        output_tokens=len(steps),
        text="\n".join(texts[-1]) if texts else None,
        duration_s=sum(seconds),
    )
    t_s = 0.0
    for index, (step, step_s, piece) in enumerate(zip(steps, seconds, pieces, strict=True)):
        t_s += step_s
        yield RecordedStep(
            run_id=run_id,
            sample=0,
            index=index,
            t_s=t_s,
            step_s=step_s,
            tokens=1,
            text=piece,
            forwards=1,
            enqueue_s=step.enqueue_ms / 1e3,
            engine_s=step.total_ms / 1e3,
            bytes_read=round(step.gb_per_s * 1e9 * step_s),
        )
