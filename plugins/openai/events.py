"""Bytes of a streamed answer into its events, however they were cut on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ... import SampleError
from .dialects.dialect import Event

_SHOWN = 120
_OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")


class EventLines:
    """Collects bytes until lines are whole.

    Args:
        is_event_stream: lines are of server-sent events (``data: {...}``); otherwise each is an object by itself.
    """

    def __init__(self, *, is_event_stream: bool) -> None:
        self._is_event_stream = is_event_stream
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are complete now.

        Raises:
            SampleError: a line is not what the format asks for.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if (event := self._event(line.strip())) is not None:
                yield event

    def close(self) -> None:
        """Note that no more bytes come.

        Raises:
            SampleError: the last event has come in part.
        """
        if self._rest.strip():
            raise SampleError(f"the answer ended inside an event: {_shown(self._rest)}")

    def _event(self, line: bytes) -> Event | None:
        if self._is_event_stream:
            if line.startswith(b"data:"):
                line = line[5:].strip()
            elif line.startswith(b"error:"):
                line = b'{"error":' + line[6:] + b"}"
            elif line.startswith(_OTHER_FIELDS):
                return None
        if not line or line == b"[DONE]":
            return None
        try:
            event = json.loads(line)
        except ValueError as error:
            raise SampleError(f"the answer has an event that is not JSON: {_shown(line)}") from error
        if not isinstance(event, dict):
            raise SampleError(f"the answer has an event that is not an object: {_shown(line)}")
        return event


def _shown(line: bytes) -> str:
    text = line.strip()[:_SHOWN].decode(errors="backslashreplace")
    return text + ("..." if len(line.strip()) > _SHOWN else "")
