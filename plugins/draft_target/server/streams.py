"""Streams of verifications: each holds a thread, so there is a limit, and one that says nothing is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from .refusal import Refused


class Stream:
    """One stream's place.

    Args:
        context: of its call.
    """

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._idle_since: float | None = time.monotonic()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold off the end for idleness while a request is at work."""
        self._idle_since = None
        try:
            yield
        finally:
            self._idle_since = time.monotonic()

    def cancel_if_idle(self, before: float) -> None:
        """End a stream whose client said nothing since ``before``, in monotonic seconds."""
        idle_since = self._idle_since
        if idle_since is not None and idle_since < before:
            self._context.cancel()


class Streams:
    """All streams of a server; safe between threads.

    Args:
        limit: so many at once.
        idle_s: one on which nothing was asked for so long is ended.
    """

    def __init__(self, limit: int, idle_s: float) -> None:
        self._limit, self._idle_s = limit, idle_s
        self._open: set[Stream] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, context: grpc.ServicerContext) -> Stream:
        """Take a place.

        Raises:
            Refused: one too many.
        """
        stream = Stream(context)
        with self._lock:
            if len(self._open) >= self._limit:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._limit} streams are open, which is the limit")
            self._open.add(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Give the place back."""
        with self._lock:
            self._open.discard(stream)

    def expire(self) -> None:
        """End the streams that were idle for too long."""
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            stream.cancel_if_idle(time.monotonic() - self._idle_s)
