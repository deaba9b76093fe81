"""Other programs' text files: encodings, line ends, and the error for a bad value."""

from __future__ import annotations

import codecs
from pathlib import Path

from ...contract.log_parser import HEAD_BYTES
from ...records.raw_log import RawLogError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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
