"""Other programs' JSON: files of one object a line, whole or cut, and files that are one object."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ...records.raw_log import RawLogError
from .fields import Fields, check_plain
from .runs import digest_of
from .text import head_text, malformed, read_text, tail_text


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a file.

    Attributes:
        rows: every whole row.
        cut: what is missing at the end; None for a whole file.
        digest: of the content; names the file's runs.
    """

    rows: list[Fields]
    cut: str | None
    digest: str


def has_keys(head: bytes, *names: str) -> bool:
    """Say whether a file begins with a JSON object that has all these keys; the object may be longer than ``head``."""
    first = head_text(head).lstrip().split("\n", 1)[0]
    return first.startswith("{") and all(re.search(rf'(?<!\\)"{name}"\s*:', first) for name in names)


def is_object_with(head: bytes, *names: str) -> bool:
    """Say whether a file is one JSON object, over any number of lines, in whose beginning all these keys stand."""
    text = head_text(head).lstrip()
    return text.startswith("{") and all(re.search(rf'(?<!\\)"{name}"\s*:', text) for name in names)


def read_rows(path: Path) -> Rows:
    """Read a JSONL file; a last line without its end is left out and said.

    Raises:
        RawLogError: there is no row; a line is no JSON object, or holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    text = _text(path)
    digest = digest_of(text)
    *lines, last = text.split("\n")
    rows = [parse_object(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    cut = None
    if last.strip():
        try:
            rows.append(parse_object(path, len(lines) + 1, last))
        except RawLogError:
            cut = f"the file ends inside its line {len(lines) + 1}, which is left out: it was cut"
    if not rows and cut is None:
        raise RawLogError(f"{path}: no row in it")
    return Rows(rows, cut, digest)


def read_object(path: Path) -> tuple[Fields, str]:
    """Read a file that is one JSON object; returns it and a digest of the content.

    Raises:
        RawLogError: it is cut, or no JSON object, or holds what JSON cannot; names line and field.
        OSError: it cannot be read.
    """
    text = read_text(path)
    return parse_object(path, 1, text), digest_of(text)


def read_objects(path: Path) -> tuple[list[Fields], str]:
    """Read a file that is one JSON array of objects; returns them and a digest of the content.

    Raises:
        RawLogError: it is cut, or no such array, or holds what JSON cannot; names the field.
        OSError: it cannot be read.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_json(path, 1, error) from error
    whole = Fields(path, 1, {"": content})
    check_plain(whole)
    return whole.rows(""), digest_of(text)


def has_answers(path: Path, head: bytes, figures: re.Pattern[str]) -> bool:
    """Say whether a file is of answers as ``read_answers`` takes them, with these figures at its beginning or end."""
    text = head_text(head)
    is_json = text.lstrip().startswith(("{", "[{", "[\n", "data:", "event:", ":"))
    return is_json and any(figures.search(part) for part in (text, tail_text(path)))


def read_answers(path: Path) -> Rows:
    """Read what a client kept of a server's answers: one object, an array, one object a line, or a stream of events.

    Of a stream each `data:` line is a row, the final `[DONE]` is none.

    Raises:
        RawLogError: it is cut within an object or array, or holds what is no JSON; names line and field.
        OSError: it cannot be read.
    """
    text = _text(path)
    start = text.lstrip()
    if start.startswith("["):
        rows, digest = read_objects(path)
        return Rows(rows, None, digest)
    lines = text.split("\n")
    if any(line.startswith("data:") for line in lines):
        return _events(path, text, lines)
    if _is_object(start.split("\n", 1)[0]):
        return read_rows(path)
    row, digest = read_object(path)
    return Rows([row], None, digest)


def _events(path: Path, text: str, lines: list[str]) -> Rows:
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
    return Rows(rows, cut, digest_of(text))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def is_array_with(head: bytes, *names: str) -> bool:
    """Say whether a file begins as a JSON array of objects, in the beginning of which all these keys stand."""
    text = head_text(head).lstrip()
    return bool(re.match(r"\[\s*\{", text)) and all(re.search(rf'(?<!\\)"{name}"\s*:', text) for name in names)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except RawLogError as error:
        reason = error.__cause__
        if isinstance(reason, UnicodeDecodeError) and reason.reason == "unexpected end of data":
            return head_text(path.read_bytes())  # cut inside its last character
        raise


def parse_object(path: Path, number: int, line: str) -> Fields:
    """Read a text that begins at a line of a file as one JSON object.

    Raises:
        RawLogError: it is cut, or no JSON object, or holds what JSON cannot; names line and field.
    """
    try:
        content = json.loads(line)
        if not isinstance(content, dict):
            raise malformed(path, number, "line", "not a JSON object")
        row = Fields(path, number, content)
        check_plain(row)
    except (ValueError, RecursionError) as error:
        raise _no_json(path, number, error) from error
    return row


def _no_json(path: Path, line: int, error: Exception) -> RawLogError:
    text = str(error) if isinstance(error, json.JSONDecodeError) else "a number or a nesting beyond all measure"
    return malformed(path, line, "line", f"no JSON: {text}")
