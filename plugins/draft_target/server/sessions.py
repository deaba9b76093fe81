"""Sessions: who has one, who may open one, and when one is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from ..models import CausalModel
from ..target_session import TargetSession
from .refusal import Refused, invalid

_LONGEST_NAME = 128


@dataclass(slots=True)
class Session:
    """A client's generation.

    Attributes:
        target: its committed tokens and cache.
        used_at: monotonic time of its last request.
    """

    target: TargetSession
    used_at: float = field(default_factory=time.monotonic)


class Sessions:
    """All sessions of a server; safe between threads.

    Args:
        model: opens caches.
        turn: held by whoever uses the model.
        limit: so many sessions at once.
        idle_s: a session that was not used for so long is forgotten.
    """

    def __init__(self, model: CausalModel, turn: threading.Lock, limit: int, idle_s: float) -> None:
        self._model, self._turn, self._limit, self._idle_s = model, turn, limit, idle_s
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._is_draining = False
        self._generations = 0

    def __len__(self) -> int:
        return len(self._open) + self._generations

    @contextmanager
    def use(self, name: str, prefix_start: int) -> Iterator[TargetSession]:
        """Take a session for one request; a request that begins at 0 opens it.

        The caller holds ``turn``. A session is forgotten again when its first request is refused, and whenever one
        fails: nobody knows what its cache holds then.

        Raises:
            Refused: unknown, one too many, or the server is going down.
        """
        session, is_new = self._take(name, prefix_start)
        try:
            yield session.target
        except Refused:
            if is_new:
                self.drop(name)
            raise
        except BaseException:
            self.drop(name)
            raise
        finally:
            session.used_at = time.monotonic()

    def arrive(self, name: str) -> None:
        """Note that a request for a session waits for its turn."""
        with self._lock:
            if name in self._open:
                self._open[name].used_at = time.monotonic()

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Hold a place for a generation on the server's side; it counts as a session.

        Raises:
            Refused: one too many, or the server is going down.
        """
        with self._lock:
            self._check_room()
            self._generations += 1
        try:
            yield
        finally:
            with self._lock:
                self._generations -= 1

    def _check_room(self) -> None:
        if self._is_draining:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the server is going down and opens no session")
        if len(self) >= self._limit:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._limit} sessions are open, which is the limit")

    def _take(self, name: str, prefix_start: int) -> tuple[Session, bool]:
        if not 0 < len(name) <= _LONGEST_NAME:
            raise invalid(f"session_id must have 1 to {_LONGEST_NAME} characters")
        with self._lock:
            session = self._open.get(name)
            if session is not None:
                return session, False
            if prefix_start > 0:
                raise Refused(
                    grpc.StatusCode.NOT_FOUND, f"session {name!r} is unknown here: send the whole prefix from 0"
                )
            self._check_room()
            session = self._open[name] = Session(TargetSession(self._model))
            return session, True

    def drop(self, name: str) -> bool:
        """Forget a session; returns whether there was one. The caller holds ``turn``."""
        with self._lock:
            session = self._open.pop(name, None)
        if session is None:
            return False
        session.target.close()
        return True

    def expire(self) -> list[str]:
        """Forget the sessions that were idle for too long; returns their names."""
        before = time.monotonic() - self._idle_s
        with self._lock:
            old = [name for name, session in self._open.items() if session.used_at < before]
        dropped = []
        for name in old:
            with self._turn:
                session = self._open.get(name)
                if session is not None and session.used_at < before and self.drop(name):
                    dropped.append(name)
        return dropped

    def drain(self) -> None:
        """Open no session any more."""
        self._is_draining = True
