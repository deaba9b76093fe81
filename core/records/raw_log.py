"""Raw log, version 2: what a round wrote, one JSON object a line, append-only.

Lines in order, told apart by ``type``:

``run``     first; the fields of ``schema.Run`` that are known before the worker starts, and ``schema`` (the version)
``load``    once the model is loaded: the fields of ``Run`` that only the worker knows
``sample``  the fields of ``schema.Sample``, followed by
``step``    the fields of ``schema.RecordedStep``, one line a step of that sample
``score``   ``index``, ``score``, ``extracted`` of one sample; written after the last sample, so that scoring never
            runs beside a measurement
``end``     last; ``status``, ``reason``, ``cut`` and the peaks. A file without it is incomplete.

``run_id`` stands in the first line only; ``source_line`` of each record and ``conditions_hash`` of the run are filled
in as they are read. Logs of version 1 are read by way of ``migration``. While a round runs
the file is called ``....jsonl.part``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import ValidationError

from ..errors import DecodebenchError
from ..files import move_whole
from .conditions import conditions_of, hash_of
from .migration import migrate
from .schema import RecordedStep, Run, Sample

SUFFIX = ".jsonl"
PART_SUFFIX = ".jsonl.part"
LONGEST_LINE_BYTES = 64 * 2**20  # of a sample with millions of ids; reading one takes some ten times as much memory
LARGE_BYTES = 64 * 2**20  # a log beyond is read record by record

Line = dict[str, Any]
R = TypeVar("R", Run, Sample, RecordedStep)


class RawLogError(DecodebenchError):
    """A raw log that cannot be read at all; the text names the file and the line."""

    code = "log-unreadable"


class RawLogWriter:
    """Appends whole lines to ``PATH.jsonl.part``, flushed each; ``close`` renames it to ``PATH.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self.part.open("xb", buffering=0)

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Append one line; raises ``OSError`` when the disk is full, and then leaves no half line behind."""
        data = (json.dumps({"type": kind, **content}, ensure_ascii=False, allow_nan=False) + "\n").encode()
        size = self.size
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(28, os.strerror(28), str(self.part))
        except OSError:
            self.cut(size)
            raise

    @property
    def size(self) -> int:
        """In bytes so far."""
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Leave only the first ``size`` bytes."""
        self._file.truncate(size)
        self._file.seek(size)

    def close(self) -> None:
        """Finish the file: sync and rename. Call it after the ``end`` line only."""
        self._file.close()
        move_whole(self.part, self.path)

    def abandon(self) -> None:
        """Leave the ``.part`` as it is; it is read up to its last whole line."""
        self._file.close()

    def discard(self) -> None:
        """Remove the file: what it was to hold did not come about."""
        self._file.close()
        self.part.unlink()

    def __enter__(self) -> RawLogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed:
            self.abandon()


@dataclass(slots=True)
class RawLog:
    """A raw log as read.

    Attributes:
        run: the run with what ``load`` and ``end`` added; status ``incomplete`` where the end line is missing.
        samples: samples in file order, scores joined.
        steps: steps in file order.
        problem: what was cut or unreadable, None for a whole file.
    """

    run: Run
    samples: list[Sample] = field(default_factory=list)
    steps: list[RecordedStep] = field(default_factory=list)
    problem: str | None = None


@dataclass(slots=True)
class StreamedLog:
    """A raw log that is too large to hold: its records are read again whenever they are asked for.

    Attributes:
        run, problem: as of ``RawLog``.
        samples: in file order, scores joined.
        steps: in file order.
    """

    run: Run
    samples: Records[Sample]
    steps: Records[RecordedStep]
    problem: str | None = None


AnyLog = RawLog | StreamedLog


@dataclass(frozen=True, slots=True)
class Records(Iterable[R]):
    """The records of one kind in a file.

    Attributes:
        path: the file.
        run: what they belong to.
        kind: type of their lines.
        scores: by sample.
    """

    path: Path
    run: Run
    kind: type[R]
    scores: Mapping[int, Line]

    def __iter__(self) -> Iterator[R]:
        """Yield them; raises ``RawLogError`` at one that breaks the schema."""
        name = "sample" if self.kind is Sample else "step"
        for number, content in lines(self.path):
            if content["type"] == name:
                one = RawLog(self.run)
                _add(self.path, number, one, content, self.scores)
                yield from one.samples or one.steps  # type: ignore[misc]


def lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Yield (line number, object) of every whole line; a cut last line is left out.

    Raises:
        RawLogError: a line before the last is no JSON object, or one is longer than ``LONGEST_LINE_BYTES``.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE_BYTES + 1), b""), start=1):
            if len(raw) > LONGEST_LINE_BYTES:
                limit = LONGEST_LINE_BYTES // 2**20
                raise RawLogError(f"{path}:{number}: a line of more than {limit} MiB, which no round writes")
            if not raw.endswith(b"\n"):
                return
            yield number, parse_line(path, number, raw)


def parse_line(path: Path, number: int, raw: bytes | str) -> Line:
    """Read one whole line.

    Raises:
        RawLogError: it is no JSON object with a ``type``, or has text that is no Unicode.
    """
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        content = json.loads(text)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise RawLogError(f"{path}:{number}: not a JSON line ({error})") from error
    if not isinstance(content, dict) or "type" not in content:
        raise RawLogError(f"{path}:{number}: not a raw-log line (an object with 'type')")
    return content


def read(path: Path) -> AnyLog:
    """Read one raw log, whole or cut at any byte; of a large one what is wrong with a record shows as it is taken.

    Raises:
        RawLogError: it is no raw log of a known version, or a line breaks the schema; names file, line and field.
    """
    return _streamed(path) if path.stat().st_size > LARGE_BYTES else assemble(path, lines(path))


def assemble(path: Path, content_lines: Iterable[tuple[int, Line]]) -> RawLog:
    """Make a log of its lines; ``path`` is named in errors only.

    Raises:
        RawLogError: as ``read``.
    """
    head: Line | None = None
    pending: list[tuple[int, Line]] = []
    scores: dict[int, Line] = {}
    ended = False
    for number, content in content_lines:
        kind = content.pop("type")
        if head is None:
            head = checked_head(path, kind, content)
        elif kind in ("load", "end"):
            head.update(content)
            ended = kind == "end"
        elif kind in ("sample", "step"):
            pending.append((number, {"type": kind, **content}))
        elif kind == "score":
            index = content.pop("index", None)
            if not isinstance(index, int):
                raise RawLogError(f"{path}:{number}: field 'index': a score needs the index of its sample")
            scores[index] = content
        else:
            raise RawLogError(f"{path}:{number}: unknown line type {kind!r}")
    if head is None:
        raise RawLogError(f"{path}: empty: the round died before its first line")
    problem = None if ended else "the end line is missing: the round was cut"
    if not ended:
        head.update(status="incomplete", reason=problem)
    run = _build(path, 1, Run, {**head, "source_file": path.name, "source_line": 1})
    run = run.model_copy(update={"conditions_hash": hash_of(conditions_of(run))})
    log = RawLog(run, problem=problem)
    for number, content in pending:
        _add(path, number, log, content, scores)
    return log


def checked_head(path: Path, kind: str, content: Line) -> Line:
    """Return the fields of the run that the first line of a log has.

    Raises:
        RawLogError: it is the first line of something else, or of an unknown version.
    """
    version = content.pop("schema", None)
    if kind != "run" or version is None:
        raise RawLogError(f"{path}:1: not a decodebench raw log (the first line must be a 'run' with a 'schema')")
    try:
        return migrate(version, content)
    except ValueError as error:
        raise RawLogError(f"{path}:1: {error}") from error


def _add(path: Path, number: int, log: RawLog, content: Line, scores: Mapping[int, Line]) -> None:
    kind = content.pop("type")
    place = {"run_id": log.run.run_id, "source_line": number}
    if kind == "sample":
        index = content.get("index")
        score = scores.get(index, {}) if isinstance(index, int) else {}
        log.samples.append(_build(path, number, Sample, {**content, **score, **place}))
    else:
        log.steps.append(_build(path, number, RecordedStep, {**content, **place}))


def _build(path: Path, number: int, model: type[R], content: Line) -> R:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RawLogError(f"{path}:{number}: field {where!r}: {first['msg']}") from error


def _streamed(path: Path) -> StreamedLog:
    """Read everything of a log but its samples and steps."""
    scores: dict[int, Line] = {}

    def others() -> Iterator[tuple[int, Line]]:
        for number, content in lines(path):
            if content["type"] == "score" and isinstance(content.get("index"), int):
                scores[content["index"]] = {name: v for name, v in content.items() if name not in ("type", "index")}
            elif content["type"] not in ("sample", "step"):
                yield number, content

    log = assemble(path, others())
    kinds = Records(path, log.run, Sample, scores), Records(path, log.run, RecordedStep, scores)
    return StreamedLog(log.run, *kinds, log.problem)
