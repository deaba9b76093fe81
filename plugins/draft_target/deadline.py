"""A deadline for each of many waits, watched by one thread that sleeps through those that end in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Deadline:
    """Watches one wait at a time.

    A timer for every wait would start a thread for each. This thread wakes up when the first wait would be overdue,
    sees that it is over long since, and sleeps until the present one would be.

    Args:
        seconds: how long a wait may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: float | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.is_over = False
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def start(self, expire: Callable[[], object]) -> None:
        """Begin a wait; ``expire`` is called once it is overdue, and ``is_over`` is true from then on."""
        with self._lock:
            self._due, self._expire, self.is_over = time.monotonic() + self._seconds, expire, False

    def stop(self) -> None:
        """The wait has ended."""
        with self._lock:
            self._due = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def _watch(self) -> None:
        left = self._seconds
        while not self._closed.wait(left):
            with self._lock:
                left = self._seconds if self._due is None else self._due - time.monotonic()
                if left > 0:
                    continue
                self._due, self.is_over, left = None, True, self._seconds
                expire = self._expire
            expire()
