"""What an export format is to the host: a name and a function that writes files from the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format that the store can be written in.

    Attributes:
        name: what ``export --format`` takes, e.g. ``"dflash"``.
        summary: one line on what reads such files.
        write: ``write(store, experiment, folder)`` writes the selected experiment (all where it is None) into
            ``folder``, each file whole or not at all, and returns the files.
    """

    name: str
    summary: str
    write: Callable[[Store, str | None, Path], Sequence[Path]]


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
