"""The worker's end of the pipe to its parent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO


class Wire:
    """Sends whole JSON lines."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    @classmethod
    def over_stdout(cls) -> Wire:
        """Keep the real standard output for the parent; send everything else that prints there to standard error."""
        sys.stdout.flush()
        pipe = os.fdopen(os.dup(1), "wb", buffering=2**16)
        os.dup2(2, 1)
        return cls(pipe)

    def send(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send one line."""
        self._pipe.write((json.dumps({"type": kind, **content}, ensure_ascii=False) + "\n").encode())
        self._pipe.flush()

    def wait_until_read(self) -> None:
        """Return once the parent has dealt with every line: its work must not run beside the next measurement."""
        self.send("ready", {})
        if not sys.stdin.readline():  # nobody is there any more
            os._exit(1)
