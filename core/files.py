"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a scratch file beside ``path`` that takes its place at the end, so that a reader never sees half of it.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(scratch)
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def write_whole(path: Path, text: str) -> Path:
    """Write a text file so that a reader never sees half of it; returns the path.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    with whole_file(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    return path
