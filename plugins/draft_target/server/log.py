"""The server's log: one JSON object a line on standard error."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from datetime import UTC, datetime


class Log:
    """Writes events; safe between threads.

    Args:
        is_verbose: write every verification too.
    """

    def __init__(self, *, is_verbose: bool) -> None:
        self._is_verbose = is_verbose
        self._lock = threading.Lock()

    def event(self, name: str, **fields: object) -> None:
        """Write one line."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **fields})
        with self._lock:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def detail(self, name: str, **fields: object) -> None:
        """Write one line where everything is wanted."""
        if self._is_verbose:
            self.event(name, **fields)

    def failure(self, name: str, error: Exception, **fields: object) -> None:
        """Write what went wrong in the server itself, with where."""
        where = traceback.format_exception(error)
        self.event(name, error=f"{type(error).__name__}: {error}", where="".join(where), **fields)
