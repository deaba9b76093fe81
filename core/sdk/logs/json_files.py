"""Other programs' JSON: files of objects, whole or cut, and files that are one object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...records.raw_log import RawLogError
from .exchanges import bodies_of, has_client
from .fields import Fields, check_plain
from .json_values import Part, is_remnant, json_in, load_json, parts_of, rows_within
from .printed import json_text, left_out
from .runs import digest_of
from .text import head_text, malformed, read_text, read_torn_text, tail_text

_EVENT = ("data:", "event:", "id:", "retry:", ":")
_IS_BODY = re.compile(r"^[ \t]*(?:\{|\[|data:|event:)", re.MULTILINE)
_TORN = "the file does not end in text: it was cut off"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a file.

    Attributes:
        rows: every whole row.
        cut: what was left out, at the end or between, and why; None for a whole file.
        digest: of the content; names the file's runs.
    """

    rows: list[Fields]
    cut: str | None
    digest: str


def read_rows(path: Path, *, may_be_none: bool = False) -> Rows:
    """Read a file of objects, one a line or joined in any other way; what is no object is left out and said.

    Args:
        path: the file.
        may_be_none: whether a file that was cut in its first object will do.

    Raises:
        RawLogError: there is no object, or one holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    text, is_torn = _torn_json(path)
    rows, cut = _rows_in(path, list(parts_of(json_in(text))), may_be_none=may_be_none)
    inner = [inner for row in rows for inner in unwrapped(row)]
    return Rows(inner, cut or (_TORN if is_torn else None), digest_of(text))


def unwrapped(row: Fields) -> list[Fields]:
    """Return the objects of a list that an object holds and nothing else, as wrappers do; else the object itself."""
    return row.rows(next(iter(row.content))) if rows_within(row.content) else [row]


def _json_text(path: Path) -> str:
    return json_text(read_text(path))


def _torn_json(path: Path) -> tuple[str, bool]:
    text, is_torn = read_torn_text(path)
    return json_text(text), is_torn


def _rows_in(path: Path, parts: Sequence[Part], *, may_be_none: bool = False) -> tuple[list[Fields], str | None]:
    """Return the objects among parts of a file, and what was left out of it."""
    rows, odd, cut = [], [], ""
    has_rows = any(part.content for part in parts)
    for part in parts:
        if part.is_cut:
            cut = _worded_cut(part)
        elif part.content is None:
            if part.problem or _may_be_data(part.source) or not has_rows:
                odd.append(_no_object(path, part))
        elif part.content:  # an empty object says nothing
            rows.append(row_of(path, part))
    if not rows and not (may_be_none and cut):
        kind = "JSON object but empty ones" if any(part.content == {} for part in parts) else "JSON object"
        raise odd[0] if odd else RawLogError(f"{path}: {cut or f'no {kind} in it'}")
    return rows, "; ".join(filter(None, (*left_out(path, odd), cut))) or None


def _may_be_data(text: str) -> bool:
    """Say whether what stands between objects may be one that is lost, unlike words, rules and other signs."""
    return any(sign in text for sign in '{}"') or any(map(_is_end_of_array, text.splitlines()))


def _is_end_of_array(line: str) -> bool:
    try:
        json.loads("[" + line.lstrip("["))
    except (ValueError, RecursionError):
        return False
    return True


def row_of(path: Path, part: Part) -> Fields:
    """Return a part of a file as a row.

    Raises:
        RawLogError: it is cut, or no JSON object, or holds what JSON cannot; names line and field.
    """
    if part.is_cut:
        raise RawLogError(f"{path}: {_worded_cut(part)}")
    if part.content is None:
        raise _no_object(path, part)
    row = Fields(path, part.line, part.content)
    check_plain(row)
    return row


def _worded_cut(part: Part) -> str:
    where = "the object that begins on its" if "\n" in part.source.strip() else "its"
    return f"the file ends inside {where} line {part.line}, which is left out: it was cut"


def _no_object(path: Path, part: Part) -> RawLogError:
    return malformed(path, part.line, "line", f"no JSON: {part.problem}" if part.problem else "not a JSON object")


def read_object(path: Path) -> tuple[Fields, str]:
    """Read a file that is one JSON object; returns it and a digest of the content.

    Raises:
        RawLogError: it is cut, or no JSON object, or several, or holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    found, *others = read_each(path)
    if others:
        raise malformed(path, others[0][0].line, "line", "a second object begins here, where this format has one")
    return found


def read_each(path: Path) -> Iterator[tuple[Fields, str]]:
    """Read a file of one JSON object, or of several that were put into one file; each with a name by the content.

    Raises:
        RawLogError: what is in it is cut, or no JSON object, or holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    text, is_torn = _torn_json(path)
    page = json_in(text)
    parts = list(parts_of(page))
    if len(parts) == 1 and parts[0].content is not None:
        yield row_of(path, parts[0]), digest_of(text)
    elif len(parts) < 2 or parts[0].content is None:
        yield parse_object(path, 1, page), digest_of(text)  # says what is wrong
    else:
        rows, cut = _rows_in(path, parts)
        if cut or is_torn:
            raise RawLogError(f"{path}: {cut or _TORN}")
        digest = digest_of(text)
        yield from ((row, f"{digest}-{at}") for at, row in enumerate(rows))


def read_objects(path: Path) -> tuple[list[Fields], str]:
    """Read a file that is one JSON array of objects; returns them and a digest of the content.

    Raises:
        RawLogError: it is cut, or no such array, or holds what JSON cannot; names the field.
        OSError: it cannot be read.
    """
    text = _json_text(path)
    try:
        content = load_json(json_in(text))
    except (ValueError, RecursionError) as error:
        raise _no_json(path, 1, error) from error
    whole = Fields(path, 1, {"": rows_within(content) or content})
    check_plain(whole)
    return whole.rows(""), digest_of(text)


def has_answers(path: Path, head: bytes, figures: re.Pattern[str]) -> bool:
    """Say whether a file is of answers as ``read_answers`` takes them, with these figures at its beginning or end."""
    text = json_text(head_text(head))
    return begins_as_answers(text) and any(figures.search(part) for part in (text, json_text(tail_text(path))))


def begins_as_answers(text: str) -> bool:
    """Say whether a text is of JSON or of events, or of exchanges with a server that have some in them."""
    if json_in(text).lstrip().startswith(("{", "[{", "[\n", "data:", "event:", ":")):
        return True
    return has_client(text) and _IS_BODY.search(bodies_of(text)) is not None


def read_answers(path: Path) -> Rows:
    """Read what a client kept of a server's answers: objects, however they are joined, or streams of events.

    Of a stream each `data:` line is a row, the final `[DONE]` is none. What the client printed around them, and words
    between them, are no rows either.

    Raises:
        RawLogError: there is no whole object in it, or one holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    text, is_torn = _torn_json(path)
    lines = bodies_of(text).split("\n")
    rows, cut = _events(path, lines)
    rest = "\n".join("" if line.startswith(_EVENT) else line for line in lines) if rows or cut else "\n".join(lines)
    parts = [part for part in parts_of(rest) if part.content or part.problem or is_remnant(part.source)]
    if parts or not (rows or cut):
        others, left = _rows_in(path, parts)
        others = [inner for row in others for inner in unwrapped(row)]
        rows, cut = sorted((*rows, *others), key=lambda row: row.line), cut or left
    return Rows(rows, cut or (_TORN if is_torn else None), digest_of(text))


def _events(path: Path, lines: Sequence[str]) -> tuple[list[Fields], str | None]:
    """Return the rows of a stream of events, and what of its end was left out."""
    rows, cut = [], None
    for number, line in enumerate(lines, start=1):
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue
        try:
            rows.append(parse_object(path, number, data))
        except RawLogError:
            if number < len(lines):
                raise
            cut = f"the file ends inside its line {number}, which is left out: it was cut"
    return rows, cut


def is_array_with(head: bytes, *names: str) -> bool:
    """Say whether a file begins as a JSON array of objects, in the beginning of which all these keys stand."""
    text = json_text(head_text(head)).lstrip()
    return bool(re.match(r"(?:\{\s*\"\w{1,40}\"\s*:\s*)?\[\s*\{", text)) and all(
        re.search(rf'(?<!\\)"{name}"\s*:', text) for name in names
    )


def parse_object(path: Path, number: int, line: str) -> Fields:
    """Read a text that begins at a line of a file as one JSON object.

    Raises:
        RawLogError: it is cut, or no JSON object, or holds what JSON cannot; names line and field.
    """
    try:
        content = load_json(line)
        if not isinstance(content, dict):
            raise malformed(path, number, "line", "not a JSON object")
        row = Fields(path, number, content)
        check_plain(row)
    except (ValueError, RecursionError) as error:
        raise _no_json(path, number, error) from error
    return row


def _no_json(path: Path, line: int, error: Exception) -> RawLogError:
    text = str(error) if isinstance(error, json.JSONDecodeError) else "a number or a nesting beyond all measure"
    if isinstance(error, json.JSONDecodeError) and error.doc[error.pos : error.pos + 1] in ("{", "["):
        line += error.lineno - 1
        return malformed(path, line, "line", "a second value begins here, where this format has one; split the file")
    return malformed(path, line, "line", f"no JSON: {text}")
