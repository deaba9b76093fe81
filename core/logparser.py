"""What another tool's log is to the host: how it is recognised and read into the shared record."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from .rawlog import RawLogError
from .schema import Run, Sample, Step

HEAD_BYTES = 64 * 1024
"""How much of a file ``matches`` gets to see."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class LogParser(ABC):
    """One log format. ``collate --import`` asks every parser and copies a file that one of them recognises.

    Attributes:
        name: the format, as ``--format`` takes it and ``Run.source_format`` records it, e.g. ``"tinygrad"``.
        summary: one line on what writes such logs.
        version: of the parser; a new one makes ``collate`` read the files again.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[str]

    @abstractmethod
    def matches(self, path: Path, head: bytes) -> bool:
        """Say whether this is a log of this format, by content; must not raise.

        Args:
            path: the file; its name alone is no proof.
            head: its first ``HEAD_BYTES`` bytes; ``head_text`` decodes them.
        """

    @abstractmethod
    def read(self, path: Path) -> Iterator[Run | Sample | Step]:
        """Yield each run of the file, followed by its samples and steps.

        The host fills ``experiment``, ``cell_id``, ``round`` and the provenance of each run: leave them empty. What
        the log does not tell is None; ``Run.notes`` says what was inferred. ``run_id`` must depend on nothing but the
        file's name and content, so that a second import is seen as the same run.

        Raises:
            RawLogError: the file cannot be read as this format; ``malformed`` words it.
        """


def malformed(path: Path, line: int, field: str, text: str) -> RawLogError:
    """Build the error for one bad value: file, line (from 1), field and what is wrong with it."""
    return RawLogError(f"{path}:{line}: field {field!r}: {text}")


def head_text(head: bytes) -> str:
    """Decode the beginning of a file as ``read_text`` would; what is no text is left out, so this never fails."""
    return head.decode(_encoding(head), errors="ignore").replace("\r\n", "\n")


def tail_text(path: Path) -> str:
    """Decode the last ``HEAD_BYTES`` of a file likewise; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            encoding = _encoding(file.read(4))
            file.seek(0, 2)
            file.seek(max(0, file.tell() - HEAD_BYTES) & ~1)  # an even place: UTF-16 has two bytes a character
            return file.read().decode(encoding, errors="ignore").replace("\r\n", "\n")
    except OSError:
        return ""


def read_text(path: Path) -> str:
    r"""Return a whole text file with ``\n`` line ends: UTF-8, with or without a mark, or UTF-16 with one.

    Raises:
        RawLogError: it is empty, binary or in another encoding; names the line.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RawLogError(f"{path}:{line}: byte {data[error.start]:#04x} is no {encoding.upper()} text") from error
    if "\0" in text:
        raise RawLogError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: a NUL byte: the file is binary")
    if not text:
        raise RawLogError(f"{path}: empty")
    return text.replace("\r\n", "\n")


def _encoding(data: bytes) -> str:
    if data.startswith(_UTF_16):
        return "utf-16"
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
