"""Bytes of a streamed answer into its events, however they were cut on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ... import SampleError
from .dialects.dialect import Event, error_of

_SHOWN = 120
_BOM = b"\xef\xbb\xbf"
_LONGEST = 16 * 2**20
"""Bytes of an event, so that a server cannot fill the memory."""


class EventLines:
    """Collects bytes until lines are whole.

    An event is read as soon as its JSON is whole, without waiting for the empty line behind it: servers that leave that
    out are read as well, and no time is lost. Where it spans several ``data`` lines, they are joined. Its lines end
    with LF, CR LF or CR; one that ends with CR is read at once, and an LF that comes later is dropped.

    Args:
        is_event_stream: lines are of server-sent events (``data: {...}``); otherwise each is an object by itself.

    Attributes:
        is_over: the server said that nothing else comes (``[DONE]``).
    """

    def __init__(self, *, is_event_stream: bool) -> None:
        self._is_event_stream = is_event_stream
        self.is_over = False
        self._rest = b""
        self._joined = b""  # data lines of an event that is not whole yet
        self._is_error = False  # the event's name is "error"
        self._is_after_cr = False  # the last byte was a CR: an LF that comes next ends the same line

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are complete now.

        Raises:
            SampleError: a line is not what the format asks for.
        """
        *lines, self._rest = (self._rest + self._with_lf(data)).split(b"\n")
        if len(self._rest) + len(self._joined) > _LONGEST:
            begin = self._joined or self._rest
            raise SampleError(
                f"the answer has an event of more than {_LONGEST >> 20} MiB: {_shown(begin)}",
                code="answer-invalid",
            )
        for line in lines:
            event = self._of_stream(line.strip()) if self._is_event_stream else self._alone(line.strip())
            if event is not None:
                yield event

    def close(self) -> None:
        """Note that no more bytes come.

        Raises:
            SampleError: the last event has come in part, or is no event of a stream.
        """
        rest = self._joined or self._rest.strip()
        if not rest:
            return
        if self._is_event_stream and rest.startswith(b"{") and not self._joined:
            raise SampleError(_no_stream(rest), code="answer-invalid")
        raise SampleError(f"the answer ended inside an event: {_shown(rest)}", code="answer-invalid")

    def _with_lf(self, data: bytes) -> bytes:
        """Return bytes in which every line ends with LF, wherever chunks are cut."""
        if not self._is_event_stream or not data:
            return data
        if self._is_after_cr:
            data = data.removeprefix(b"\n")
        self._is_after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _of_stream(self, line: bytes) -> Event | None:
        """Read a line of a stream of server-sent events; None where no event is whole with it."""
        if not line:
            if self._joined:
                raise SampleError(
                    f"the answer has an event that is not JSON: {_shown(self._joined)}",
                    code="answer-invalid",
                )
            self._is_error = False
            return None
        field, colon, value = line.partition(b":")
        field = field.removeprefix(_BOM)
        if field == b"data" and colon:
            return self._data(value.strip())
        if field == b"error" and colon:  # llama-server
            return {"error": _object(b'{"error":' + value + b"}").get("error")}
        if field == b"event":
            self._is_error = value.strip() == b"error"
        elif field not in (b"", b"id", b"retry", b"data"):
            return self._bare(line)
        return None

    def _bare(self, line: bytes) -> Event:
        """Read an object that is no field of an event: servers report errors so. An answer is no stream."""
        event = _object(line)
        if error_of(event) is None:
            raise SampleError(_no_stream(line), code="answer-invalid")
        return event

    def _data(self, value: bytes) -> Event | None:
        """Read what a ``data`` line has; None where its event goes on, or says only that it is the last."""
        if value == b"[DONE]" and not self._joined:
            self.is_over = True
            return None
        joined = self._joined + b"\n" + value if self._joined else value
        try:
            event = _object(joined)
        except _NotWhole:
            self._joined = joined
            return None
        self._joined = b""
        return {"error": event} if self._is_error and event.get("error") is None else event

    def _alone(self, line: bytes) -> Event | None:
        """Read a line that is an object by itself; None for an empty one."""
        return _object(line) if line else None


class _NotWhole(SampleError):
    """Text that is not JSON, and may be the beginning of it."""


def _object(text: bytes) -> Event:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _NotWhole(f"the answer has an event that is not JSON: {_shown(text)}", code="answer-invalid") from error
    if not isinstance(event, dict):
        raise SampleError(f"the answer has an event that is not an object: {_shown(text)}", code="answer-invalid")
    return event


def _no_stream(text: bytes) -> str:
    return f"the answer is not a stream of events: {_shown(text)}"


def _shown(line: bytes) -> str:
    text = line.strip()[:_SHOWN].decode(errors="backslashreplace")
    return text + ("..." if len(line.strip()) > _SHOWN else "")
