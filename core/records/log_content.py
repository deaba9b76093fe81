"""What a round's log may hold, checked line by line: before a line is written, and where it is asked what is finished.

What may be written is what ``raw_log`` reads and the store takes. It is stricter in one thing: a number that is written
as a text, or a count as ``true``, is refused, since whoever sent it meant something else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ... import defaults
from ..errors import DecodebenchError
from .raw_log import LONGEST_LINE_BYTES, RawLogError, checked_head, lines, parse_line
from .schema import Record, RecordedStep, Run, Sample

R = TypeVar("R", bound=Record)


class LineError(DecodebenchError):
    """A line that is none, or that cannot be recorded; the text says what it is and what is wrong with it."""

    code = "line-refused"


class SampleLine(Sample):
    """A sample as it is written: the log's first line has the run's id."""

    run_id: str = ""


class StepLine(RecordedStep):
    """A step as it is written."""

    run_id: str = ""


_LATE = ConfigDict(defer_build=True)  # a worker imports this module and reads no log


class _SampleOfLog(SampleLine):
    model_config = _LATE
    type: Literal["sample"]


class _StepOfLog(StepLine):
    model_config = _LATE
    type: Literal["step"]


class _ScoreOfLog(SampleLine):
    model_config = _LATE
    type: Literal["score"]
    output_tokens: int | None = None


class _PartOfLog(BaseModel):
    """``load`` and ``end``, whose fields are those of the run."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    type: Literal["load", "end"]


_LINES = TypeAdapter(
    list[Annotated[_SampleOfLog | _StepOfLog | _ScoreOfLog | _PartOfLog, Field(discriminator="type")]], config=_LATE
)
_BATCH_BYTES = 2**20


def finished_run(path: Path) -> dict[str, Any] | None:
    """Return the fields of the run of a log that ends with its ``end`` line and can be read as a whole; else None.

    Memory does not grow with its steps.

    Raises:
        OSError: it cannot be read.
    """
    return _run_of_batches(path) or _run_of_lines(path)


def _run_of_batches(path: Path) -> dict[str, Any] | None:
    """Return the run of a log that is beyond doubt, many lines checked at a time in half the time of one by one."""
    steps: dict[int, int] = {}  # how many, by sample
    once: set[tuple[str, int]] = set()
    line = None
    try:
        with path.open("rb") as file:
            head = parse_line(path, 1, file.readline(LONGEST_LINE_BYTES))
            run = checked_head(path, head.pop("type"), head)
            for batch in _batches(file):
                found = _LINES.validate_json(b"[" + b",".join(batch) + b"]")
                if len(found) != len(batch) or not batch[-1].endswith(b"\n"):
                    return None  # two halves of a torn line can make one
                for line in found:
                    if isinstance(line, _StepOfLog):
                        if steps.get(line.sample) != line.index:
                            return None
                        steps[line.sample] += 1
                        continue
                    if isinstance(line, _PartOfLog):
                        run.update(line.model_extra or {})
                    elif line.type == "sample":
                        steps[line.index] = 0
                    key = (line.type, 0 if isinstance(line, _PartOfLog) else line.index)
                    if key in once:
                        return None
                    once.add(key)
        Run.model_validate(run)
        return run if line is not None and line.type == "end" else None
    except (RawLogError, ValidationError):
        return None


def _batches(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a log, about a megabyte at a time."""
    batch: list[bytes] = []
    size = 0
    while raw := file.readline(LONGEST_LINE_BYTES):
        batch.append(raw)
        size += len(raw)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _run_of_lines(path: Path) -> dict[str, Any] | None:
    content = LogContent(is_strict=False)
    last = None
    try:
        for number, line in lines(path):
            last = line.pop("type")
            content.accept(last, line if number > 1 else checked_head(path, last, line))
    except (RawLogError, LineError):
        return None  # `collate` says what is wrong with it
    return content.run if last == "end" else None


class LogContent:
    """What the lines of one log hold so far.

    Args:
        is_strict: whether to refuse what a reader would put up with.
    """

    def __init__(self, *, is_strict: bool = True) -> None:
        self._is_strict = is_strict
        self._run: dict[str, Any] = {}
        self._parts: set[str] = set()  # of the run
        self._steps: dict[int, int] = {}  # how many, by sample
        self._missing_tokens: dict[int, int] = {}  # that no step has brought yet, by sample with steps
        self._measured: set[int] = set()  # samples that count, once all their tokens are there
        self._scored: set[int] = set()

    @property
    def run(self) -> dict[str, Any]:
        """The fields of the run."""
        return self._run

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self._steps)

    @property
    def measured(self) -> int:
        """How many measured samples there are as wholes that did not fail."""
        return sum(not self._is_torn(sample) for sample in self._measured)

    @property
    def whole(self) -> int:
        """How many samples there are before the first one of which steps are missing."""
        return next((at for at, sample in enumerate(self._steps) if self._is_torn(sample)), len(self._steps))

    def forget(self, samples: Collection[int]) -> None:
        """Forget samples, by index, that the log no longer holds."""
        for sample in samples:
            del self._steps[sample], self._missing_tokens[sample]
        self._measured -= set(samples)

    def _is_torn(self, sample: int) -> bool:
        return self._missing_tokens[sample] > 0

    def accept(self, kind: str, content: Mapping[str, Any]) -> Record:
        """Return the record that a line makes, after every check; ``run``, ``load`` and ``end`` make one together.

        Args:
            kind: its type.
            content: its other fields.

        Raises:
            LineError: it cannot be recorded; names sample, step and field.
        """
        try:
            match kind:
                case "run" | "load" | "end":
                    run = {**self._run, **{name: value for name, value in content.items() if name != "schema"}}
                    record = self._checked(Run, run)
                    if kind in self._parts:
                        raise LineError("it came twice")
                    self._parts.add(kind)
                    self._run = run
                    return record
                case "sample":
                    sample = self._checked(SampleLine, content)
                    if sample.index in self._steps:
                        raise LineError("it came twice")
                    self._steps[sample.index] = 0
                    self._count(sample)
                    return sample
                case "step":
                    step = self._checked(StepLine, content)
                    if step.index != self._steps.get(step.sample):
                        raise LineError("it is not the next step of a sample in the log")
                    self._steps[step.sample] += 1
                    self._missing_tokens[step.sample] -= step.tokens
                    return step
                case "score":
                    scored = self._checked(SampleLine, {"output_tokens": None, **content})
                    if scored.index in self._scored:
                        raise LineError("it came twice")
                    self._scored.add(scored.index)
                    return scored
        except LineError as error:
            raise LineError(f"{_described(kind, content)} that cannot be recorded: {error}") from error
        raise LineError(f"a line of unknown type {kind!r}")

    def _count(self, sample: Sample) -> None:
        is_ok = sample.status == "ok"
        if is_ok and not sample.is_warmup:
            self._measured.add(sample.index)
        self._missing_tokens[sample.index] = 0 if sample.choices or not is_ok else sample.output_tokens or 0

    def _checked(self, model: type[R], content: Mapping[str, Any]) -> R:
        try:
            if not self._is_strict:
                return model.model_validate(content)
            data = _encoded(content)
            _check_size(data, content)
            return model.model_validate_json(data, strict=True)
        except ValidationError as error:
            raise LineError(fault_of(error)) from error


def _described(kind: str, content: Mapping[str, Any]) -> str:
    words = {"sample": "of sample", "index": "number"}
    place = [f"{words[name]} {content[name]}" for name in words if isinstance(content.get(name), int)]
    return " ".join([f"a {kind!r}", *reversed(place)])


def _check_size(data: bytes, content: Mapping[str, Any]) -> None:
    if len(data) > defaults.LOG_LINE_BYTES:
        raise LineError(f"it has {len(data)} bytes; at most {defaults.LOG_LINE_BYTES} are recorded")
    for name, value in content.items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, int) and one.bit_length() > 63 for one in values):
            raise LineError(f"field {name!r}: an integer beyond 64 bits with its sign")


def _encoded(content: Mapping[str, Any]) -> bytes:
    """Return the content as JSON; what JSON has not, such as NaN, is refused wherever it is."""
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        if len(content) > 1:
            for name, value in content.items():
                _encoded({name: value})
        raise LineError(f"field {next(iter(content), '')!r}: {error}") from error


def fault_of(error: ValidationError) -> str:
    """Word what is wrong with a record: the field and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"field {where!r}: {first['msg']}" if where else first["msg"]
