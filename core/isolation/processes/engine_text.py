"""What an engine prints while a round runs: kept in a file, of which no more than a limit stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .... import defaults

_LOOKS_EVERY_S = 0.5
_LAST_BYTES = 4000  # in which the last lines are looked for
_LONGEST = 200  # characters of a line
_CUT = b"\n[decodebench: %d bytes of what the engine printed were left out here]\n"


@contextmanager
def engine_text_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file for a worker's error output; its beginning and its end are kept, an empty one is deleted.

    The engine writes to the file itself, so that its last words are there however it ends; what it prints beyond the
    limit stays on the disk for less than a second.
    """
    ended = threading.Event()
    with path.open("ab") as file:  # appended to: where the file is cut, the engine goes on at its new end
        watcher = threading.Thread(target=_watch, args=(path, ended), daemon=True)
        watcher.start()
        try:
            yield file
        finally:
            ended.set()
            watcher.join()
            with suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()


def last_lines(file: Path | None, count: int = 5) -> list[str]:
    """Return the last lines of a file that are not empty, cut to a length that fits a message."""
    if file is None or not file.is_file():
        return []
    with file.open("rb") as printed:
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - _LAST_BYTES))
        text = printed.read(_LAST_BYTES).decode(errors="replace")
    return [line.strip()[:_LONGEST] for line in text.splitlines() if line.strip()][-count:]


def _watch(path: Path, ended: threading.Event) -> None:
    is_last = False
    while not is_last:
        is_last = ended.wait(_LOOKS_EVERY_S)
        with suppress(OSError):  # the next look finds it again
            if path.stat().st_size > defaults.ENGINE_TEXT_BYTES:
                _cut(path, defaults.ENGINE_TEXT_BYTES // 2)


def _cut(path: Path, kept: int) -> None:
    """Keep so many bytes, half from the beginning and half from the end."""
    half = kept // 2
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        file.seek(size - half)
        end = file.read(half)
        file.seek(half)
        file.write(_CUT % (size - kept) + end)
        file.truncate()
