"""What a file is made of, whatever its length: the questions that a parser asks before it claims one.

Each file is read and parsed once for all parsers that ask in turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...records.raw_log import RawLogError
from .json_values import json_in, rows_within
from .printed import json_text, unpainted
from .text import head_text, read_printed, read_text

_DEEPEST = 6
"""Objects within objects below which no format's own names lie."""


def page_of(path: Path) -> str:
    """Return a page of text as people read it: without colours, and without lines drawn over each other.

    Raises:
        RawLogError: it is empty or binary.
        OSError: it cannot be read.
    """
    return torn_page_of(path)[0]


def torn_page_of(path: Path) -> tuple[str, bool]:
    """Return what ``page_of`` does, and whether the file's end was torn off.

    Raises:
        RawLogError: it is empty or binary.
        OSError: it cannot be read.
    """
    stat = path.stat()
    return _page(path, stat.st_mtime_ns, stat.st_size)


def text_of(path: Path) -> str:
    """Return what ``page_of`` does, and nothing of a file that is no text, so that this never fails."""
    try:
        return page_of(path)
    except (RawLogError, OSError):
        return ""


def first_object(path: Path) -> Mapping[str, Any]:
    """Return the first JSON object of a file of JSON: the whole of it, its first row, or the first of its array.

    Empty where the file is no JSON, is cut within that object, or cannot be read.
    """
    try:
        stat = path.stat()
        return _first_object(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return {}


def first_row(path: Path) -> Mapping[str, Any]:
    """Return what ``first_object`` does; of a wrapper, which holds a list of objects and nothing else, its first."""
    found = first_object(path)
    rows = rows_within(found)
    return rows[0] if rows else found


def holds(path: Path, head: bytes, *names: str) -> bool:
    """Say whether the first JSON object of a file has all these keys, its own or those of objects within it.

    Of a file that is cut within that object, its beginning is asked.

    Args:
        path: the file.
        head: its beginning, as ``LogParser.matches`` gets it.
        names: the keys.
    """
    if found := first_object(path):
        return set(names) <= set(keys_within(found))
    text = _json_in_head(head)
    return text.startswith(("{", "[")) and all(re.search(rf'(?<!\\)"{name}"\s*:', text) for name in names)


def forget() -> None:
    """Drop the file that was read last."""
    _page.cache_clear()
    _first_object.cache_clear()


@lru_cache(maxsize=1)
def _json_in_head(head: bytes) -> str:
    return json_in(json_text(head_text(head))).lstrip()


@lru_cache(maxsize=1)
def _page(path: Path, _modified_ns: int, _size: int) -> tuple[str, bool]:
    text, is_torn = read_printed(path)
    return unpainted(text), is_torn


@lru_cache(maxsize=1)
def _first_object(path: Path, _modified_ns: int, _size: int) -> Mapping[str, Any]:
    try:
        text = read_text(path)
        text = json_in(json_text(text)) if "{" in text else ""
        start = re.match(r"[\s\[]*\{", text)
        return json.JSONDecoder().raw_decode(text, start.end() - 1)[0] if start else {}
    except (RawLogError, ValueError, RecursionError):
        return {}


def keys_within(content: Mapping[str, Any], depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the keys of an object and of those within it; rows of a list are alike: the first stands for all."""
    for name, value in content.items():
        yield name
        inner = value[0] if isinstance(value, list) and value else value
        if depth and isinstance(inner, dict):
            yield from keys_within(inner, depth - 1)
