"""The worker's end of the pipe to its parent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..isolation.processes.messages import kind_of
from ..records.schema import Record


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

    def send(self, message: Record) -> None:
        """Send a message. What a plugin gave may come unchecked (``model_construct``): the parent checks every line."""
        self.write(kind_of(type(message)), {name: getattr(message, name) for name in type(message).model_fields})

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send a line; one of the raw log is held strictly against the records by the parent, see ``LogContent``."""
        self._pipe.write((json.dumps({"type": kind, **content}, ensure_ascii=False, default=_plain) + "\n").encode())
        self._pipe.flush()

    def wait_until_read(self) -> None:
        """Return once the parent has dealt with every line: its work must not run beside the next measurement."""
        self.write("ready", {})
        if not sys.stdin.readline():  # nobody is there any more
            os._exit(1)


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON")
