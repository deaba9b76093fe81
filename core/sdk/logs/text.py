"""Other programs' text files: encodings, line ends, torn ends, and the error for a bad value."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from pathlib import Path

from ...contract.log_parser import HEAD_BYTES
from ...records.raw_log import RawLogError
from .kept import printed_lines
from .prefixes import unprefixed

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CODE_PAGE = "cp1252"
# Characters below U+0100 in UTF-16, of which every log is full: three in a row begin a part in it, and between two of
# them stand few others. What ends a pair in one alternative begins none in the other, so that nothing backtracks.
_IN_UTF_16 = re.compile(
    rb"(?P<le>(?:\xff\xfe)?(?:[^\0]\0){3}(?:(?:[\0-\xff][^\0]){0,8}[^\0]\0)*)"
    rb"|(?P<be>(?:\xfe\xff)?(?:\0[^\0]){3}(?:(?:[^\0][\0-\xff]){0,8}\0[^\0])*)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_HALF = "unexpected end of data"  # what Python says of a character that the text ends in
_SHORTEST_PART = 32  # bytes between parts in UTF-16 that are in UTF-8


def malformed(path: Path, line: int, field: str, text: str) -> RawLogError:
    """Build the error for one bad value: file, line (from 1), field and what is wrong with it."""
    return RawLogError(f"{path}:{line}: field {field!r}: {text}")


@lru_cache(maxsize=1)  # each format asks for it
def head_text(head: bytes) -> str:
    """Decode the beginning of a file as ``read_text`` would; what is no text is left out, so this never fails."""
    return _plain(head.decode(_encoding(head), errors="ignore"))


def tail_text(path: Path) -> str:
    """Decode the last ``HEAD_BYTES`` of a file likewise; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            encoding = _encoding(file.read(HEAD_BYTES))
            file.seek(0, 2)
            file.seek(max(0, file.tell() - HEAD_BYTES) & ~3)  # UTF-32 has four bytes a character, UTF-16 two
            return _plain(file.read().decode(encoding, errors="ignore"))
    except OSError:
        return ""


def read_text(path: Path) -> str:
    r"""Return a whole text file with ``\n`` line ends: UTF-8, UTF-16 or UTF-32, with or without a mark.

    What a crash leaves at the end, half a character or a run of NUL bytes, is left out.

    Raises:
        RawLogError: it is empty, binary or in another encoding; names the line.
        OSError: it cannot be read.
    """
    return read_torn_text(path)[0]


def read_torn_text(path: Path) -> tuple[str, bool]:
    """Return a file as ``read_text`` does, and whether its end was torn off."""
    data = path.read_bytes()
    try:
        text, is_torn = _decoded(data)
    except UnicodeDecodeError as error:
        encoding = _encoding(data)
        if error.end < len(data) or not error.start:
            line = data.count(b"\n", 0, error.start) + 1
            byte = f"byte {data[error.start]:#04x} is not {encoding.upper()} text"
            raise RawLogError(f"{path}:{line}: {byte}") from error
        text, is_torn = data[: error.start].decode(encoding), True
    return _checked(path, text), is_torn


def read_printed(path: Path) -> tuple[str, bool]:
    r"""Return what a program printed for people, and whether its end was torn off. It need not be in one encoding:
    bytes of a code page, halves of characters, several marks, bars that ``\r`` draws over each other.

    Raises:
        RawLogError: it is empty or binary; names the line.
        OSError: it cannot be read.
    """  # fmt: skip
    data = path.read_bytes()
    try:
        text, is_torn = _decoded(data)
    except UnicodeDecodeError as error:
        # Half a character at the end, and no other fault, was torn off. Of UTF-8 something is left wherever it
        # stands; where nothing is, this was never UTF-8.
        encoding = _encoding(data)
        is_half = error.end == len(data) and (encoding != "utf-8" or error.reason == _HALF)
        is_page = encoding == "utf-8" and not is_half and not _MULTIBYTE.search(data)
        text, is_torn = _without_nul(data.decode(_CODE_PAGE if is_page else encoding, errors="replace"))
        is_torn |= is_half
    return _checked(path, text).replace("\ufeff", ""), is_torn


@lru_cache(maxsize=1)  # a file is read by several formats, and again as the copy that it was imported as
def _decoded(data: bytes) -> tuple[str, bool]:
    """Return the text of a whole file and whether NUL bytes were behind it; another one is the decoder's error."""
    text = _mixed(data)
    return _without_nul(data.decode(_encoding(data)) if text is None else text)


def _without_nul(text: str) -> tuple[str, bool]:
    """Return a text without the NUL bytes behind it, unless it is nothing else, and whether there were any."""
    whole = text.rstrip("\0")
    return whole or text, len(whole) < len(text)


def _mixed(data: bytes) -> str | None:
    """Return a text of which parts were appended in UTF-16 and others in UTF-8, as PowerShell's `>>` does.

    None where all of it is in one encoding, or in none.
    """
    if data.count(b"\0") < _SHORTEST_PART:
        return None
    texts, at, is_mixed = [], 0, False
    for part in (*_IN_UTF_16.finditer(data), None):
        between = data[at : part.start() if part else len(data)].removeprefix(codecs.BOM_UTF8)
        if between:
            try:
                texts.append(between.decode())
            except UnicodeDecodeError:
                return None
            if b"\0" in between or len(between) < _SHORTEST_PART:
                return None
            is_mixed = True
        if part:
            texts.append(part[0].decode("utf-16-le" if part["le"] else "utf-16-be", errors="replace").lstrip("\ufeff"))
            at = part.end()
    return "".join(texts) if is_mixed and len(texts) > 1 else None


def _checked(path: Path, text: str) -> str:
    if "\0" in text:
        raise RawLogError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: a NUL byte: the file is binary")
    if not text:
        raise RawLogError(f"{path}: empty")
    return _plain(text)


@lru_cache(maxsize=2)  # of a file and of its beginning
def _plain(text: str) -> str:
    """Return the printed lines of a text without what stands before every one of them, maybe in colours."""
    text = printed_lines(_lines(text))
    plain = uncoloured(text)
    found = unprefixed(plain)
    return text if found is plain else found


def uncoloured(text: str) -> str:
    """Return a text without a terminal's colours, of which JSON has none; what an engine generated may have some."""
    return _COLOUR.sub("", text) if "\x1b[" in text else text


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")


def _encoding(data: bytes) -> str:
    if data.startswith(_UTF_32):
        return "utf-32"
    if data.startswith(_UTF_16):
        return "utf-16"
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    start = data[:256]
    if len(start) >= 16:
        nothing = [start[at::4].count(0) * 4 >= len(start) for at in range(4)]  # UTF-32 without its mark
        if nothing in ([False, True, True, True], [True, True, True, False]):
            return "utf-32-be" if nothing[0] else "utf-32-le"
    if len(start) >= 8 and start[::2].count(0) + start[1::2].count(0) >= len(start) // 3:
        even, odd = start[::2].count(0), start[1::2].count(0)
        if min(even, odd) == 0:  # every other byte: UTF-16 without its mark
            return "utf-16-be" if even else "utf-16-le"
    return "utf-8"
