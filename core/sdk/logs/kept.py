"""Printed lines that a collector keeps in objects: a line each, in an array, or in an export's list of events.

::

    {"log": "llama_context: n_batch = 2048\\n", "stream": "stdout", "time": "2026-11-30T12:00:00Z"}
    {"events": [{"timestamp": 1764504000000, "message": "llama_context: n_batch = 2048"}]}

An object is a collector's if it has a text under one of their names, and no number but times, places and levels: rows
of measurements have figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_TEXTS = ("log", "MESSAGE", "message", "msg", "line", "textPayload", "body", "@message", "event")
_NO_FIGURE = re.compile(
    r"[@_]*(?:\w*(?:time|date|stamp|offset)\w*|t|ts|v|\w*id|line(?:no|_?number)?|seq\w*|\w*level|severity|priority|"
    r"port|version|process|thread|(?:nano|m?sec)\w*|facility)",
    re.IGNORECASE,
)
_LIST = re.compile(r"\s*(?:\{\s*\"\w{1,40}\"\s*:\s*)?\[\s*(?=\{)")
_BEGINNING = 20_000  # characters, in which the first object ends
_DECODER = json.JSONDecoder()


def printed_lines(text: str) -> str:
    """Return the lines that were printed, of a text that keeps them in objects; any other text as it is.

    Objects that are one a line leave each line its number. A last one that was cut stays as it is.
    """
    if not text[:200].lstrip().startswith(("{", "[")) or '"print_timings"' in text:
        return text
    if begun := _LIST.match(text, 0, 1000):
        return _of_list(text, begun.end())
    first = text[:_BEGINNING].lstrip().split("\n", 1)[0]
    if (entry := _loaded(first)) is None or line_of(entry) is None:
        return text
    *lines, last = text.split("\n")
    return "".join(map(_printed, lines)) + (_printed(last) if _loaded(last) is not None else last)


def line_of(entry: object) -> str | None:
    """Return what was printed, of an object that a collector keeps it in; None of any other value."""
    if not isinstance(entry, dict):
        return None
    texts = (_text(entry.get(name)) for name in _TEXTS)
    found = next((text for text in texts if text is not None), None)
    return None if found is None or any(_figures_in(entry)) else found


def _of_list(text: str, first: int) -> str:
    try:
        if line_of(_DECODER.raw_decode(text[: first + _BEGINNING], first)[0]) is None:
            return text
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), [])
    lines = [line_of(entry) for entry in content]
    return "".join(_ended(line) for line in lines if line is not None) if None not in lines else text


def _loaded(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _printed(line: str) -> str:
    found = line_of(_loaded(line)) if line.lstrip().startswith("{") else None
    return _ended(line if found is None else found)


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"


def _text(value: object) -> str | None:
    """Return a text; the journal keeps one with colours as a list of its bytes."""
    if isinstance(value, list) and value and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):
        return bytes(value).decode(errors="replace")
    return value if isinstance(value, str) else None


def _figures_in(entry: dict[str, object]) -> Iterator[str]:
    """Yield the names of numbers that tell no time, place or level."""
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _figures_in(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and not _NO_FIGURE.fullmatch(name):
            yield name
