"""What a worker sends, a JSON object a line with its ``type``; what goes into a raw log is in ``records``."""

from __future__ import annotations

import json
from typing import Literal, Self, TypeVar

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator

from ...contract.launcher import Line as Line
from ...host.packed_models import PreparedJob
from ...records.log_content import LineError, fault_of
from ...records.schema import Record

_SHOWN = 80  # characters of a line that is none


class Finish(Record):
    """The last line: how the job ended."""

    status: Literal["ok", "failed"]
    reason: str | None
    peak_rss_bytes: int | None = Field(ge=0, lt=2**63)
    code: str | None = None


class Text(Record):
    """What the engine's own tools would have logged of a sample."""

    text: str


class Server(Record):
    """What is known of the server that answered, after the last sample."""

    peak_rss_bytes: int | None = Field(ge=0, lt=2**63)


class Hosted(Record):
    """The answer to ``host``: a server that runs until the worker's standard input ends; as ``ServerJob`` has it."""

    id: str
    url: str
    pid: int = Field(ge=1)
    command: tuple[str, ...]
    version: str | None
    started_ns: int
    ready_ns: int
    is_new: bool


class Devices(Record):
    """The answer to ``devices``."""

    devices: tuple[str, ...]


class Prepared(Record):
    """The answer to ``prepare``."""

    model: PreparedJob
    prepare_s: float = Field(ge=0)
    notices: tuple[str, ...] = ()


class Score(Record):
    """The answer to ``score``, a line for each continuation."""

    index: int
    logprob: float
    top_logprobs: tuple[float, ...] = Field(min_length=2)


class Evaluation(Record):
    """The answer to ``evaluate``, a line for each continuation; a token that is ruled out has -inf."""

    model_config = ConfigDict(allow_inf_nan=True)

    index: int
    vocabulary_size: int
    logprobs: tuple[float, ...]
    is_greedy: tuple[bool, ...]
    top_ids: tuple[tuple[int, ...], ...]
    top_logprobs: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.logprobs) == len(self.is_greedy) == len(self.top_ids) == len(self.top_logprobs):
            raise ValueError("not every position has each of its figures")
        if any(len(ids) != len(values) for ids, values in zip(self.top_ids, self.top_logprobs, strict=True)):
            raise ValueError("not every likely id has its log-probability")
        return self


class Serving(Record):
    """The first line of a conversation."""

    context_length: int


class Answer(Record):
    """A line of a conversation: a value for each prompt, or why there is none."""

    values: list[JsonValue] = []
    clipped: int = Field(0, ge=0)
    error: str | None = None
    code: str | None = None


M = TypeVar("M", bound=Record)


def kind_of(message: type[Record]) -> str:
    """Return the ``type`` of a line that holds such a message."""
    return message.__name__.lower()


def parse(raw: bytes) -> Line:
    """Read one line.

    Raises:
        LineError: it is no JSON object with a ``type``.
    """
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("type"), str):
        shown = raw[:_SHOWN].decode(errors="backslashreplace") + ("..." if len(raw) > _SHOWN else "")
        raise LineError(f"an unknown message: {shown!r}")
    return line


def message(kind: type[M], line: Line) -> M:
    """Return a line as the message that its type says it is.

    Raises:
        LineError: a field is missing, unknown or of another type.
    """
    try:
        return kind.model_validate({name: value for name, value in line.items() if name != "type"})
    except ValidationError as error:
        raise LineError(f"a wrong {line['type']!r}: {fault_of(error)}") from error
