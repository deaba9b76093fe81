"""What all families of servers have in common: a body that asks, and events that answer."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from uuid import uuid4

from .... import SampleError
from ....core.contract.generation import Request

Event = Mapping[str, Any]
Finish = Literal["stop", "length"]

_OF_CHATS = ("content", "reasoning_content", "reasoning", "thinking")


@dataclass(slots=True)
class Part:
    """What one event of an answer says. There is one for each, so it is cheap to build.

    Attributes:
        ids: token ids that are new; None where the server gives none.
        text: text that is new.
        elsewhere: name of a field of another API with text that ``text`` does not have.
        tokens: tokens that the server has generated for this answer so far, as it counts them.
        finish: why the answer ended; None where it goes on, or where this event does not say.
        figures: what the server counts of the request so far, by the names of ``EngineCounters.of``.
        error: what went wrong, where the event says that.
    """

    ids: Sequence[int] | None = None
    text: str = ""
    elsewhere: str | None = None
    tokens: int | None = None
    finish: Finish | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on its way to a server.

    Attributes:
        request: what the host asks.
        text: its prompt as text; empty where the server takes ids.
        model: the server's name for the model.
        avoids_cache: whether the prompt must be computed anew.
    """

    request: Request
    text: str
    model: str | None
    avoids_cache: bool


class Dialect(ABC):
    """One family of servers.

    Attributes:
        name: as the option ``api`` calls it.
        path: where completions are asked for.
        has_ids: whether it takes prompts as token ids and answers with ids.
        can_avoid_cache: whether a request can ask for its prompt to be computed anew.
        has_top_k: whether a request can ask for ``top_k``.
        is_event_stream: whether events are server-sent; otherwise each line is one.
        finish_is_last: whether the event that says why an answer ended is the last one; else figures may follow.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    has_ids: ClassVar[bool]
    can_avoid_cache: ClassVar[bool]
    has_top_k: ClassVar[bool] = True
    is_event_stream: ClassVar[bool] = True
    finish_is_last: ClassVar[bool] = False

    @abstractmethod
    def body(self, asked: Asked) -> dict[str, Any]:
        """Return the body of a request.

        Everything that changes the tokens is stated, since servers have defaults of their own.
        """

    @abstractmethod
    def part(self, event: Event, before: int) -> Part:
        """Read one event of an answer.

        Args:
            event: as it came.
            before: ids of this answer that are there already.

        Raises:
            SampleError: it is of another answer to the same prompt.
        """


def error_of(event: Event) -> str | None:
    """Return the message of an event that reports an error, as most servers word it; None for any other."""
    found = event.get("error")
    if found is None or found is False:
        return str(event.get("message")) if event.get("object") == "error" else None
    return str(found.get("message", found)) if isinstance(found, Mapping) else str(found)


def text_elsewhere(*places: object) -> str | None:
    """Return the name of the first field, of a chat or of thoughts, that has text; None where there is none."""
    found = (
        name
        for place in places
        if isinstance(place, Mapping)
        for name in _OF_CHATS
        if isinstance(place.get(name), str) and place[name]
    )
    return next(found, None)


def check_is_first(event: Mapping[str, Any]) -> None:
    """Check that an event, or a choice in it, is of the one answer that was asked for.

    Raises:
        SampleError: it is of a further answer to the same prompt.
    """
    if event.get("index") not in (None, 0):
        raise SampleError(f"an event is of choice {event['index']!r}: one answer was asked for", code="answer-invalid")


def figures_of(**values: object) -> dict[str, float]:
    """Return those figures that the server gives as numbers, finite ones from 0 on."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < sys.float_info.max
    }


def salt() -> str:
    """Return what no other request has: prompts with different salts share no cache."""
    return uuid4().hex
