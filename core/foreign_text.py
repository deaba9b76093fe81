"""Text from outside (logs, models, clients), made safe for where it goes: a path, a terminal, a spreadsheet, a reader.

HTML is escaped by its template, Typst and SQL get such text as data, never as source.
"""

from __future__ import annotations

import hashlib
import re

_LONGEST_PART = 60  # characters; what is joined from several must stay below the 255 bytes of a file system
_NOT_IN_PATHS = re.compile(r"[^A-Za-z0-9._-]+")
# Escape sequences begin with a control character of C0 or C1; what turns the direction of a line forges its end, and a
# half of a surrogate pair cannot be encoded.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
# What begins a formula, in either width, whatever a spreadsheet skips before it; and what moves on to another cell.
_RUN_BY_SPREADSHEETS = re.compile(r"[\t\r\n]|[\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")
_HOME = re.compile(r"(?:/home|/Users)/[^/\s\"':]+|/root(?=[/\s\"':]|$)|[A-Za-z]:\\Users\\[^\\\s\"':]+")


def path_part(text: str) -> str:
    """Return text as one part of a path: it can neither leave its folder nor be hidden nor be too long for it.

    Two texts may give the same part; see ``own_path_part``.
    """
    return _NOT_IN_PATHS.sub("-", text).strip("-.")[-_LONGEST_PART:].lstrip("-.") or "unnamed"


def own_path_part(text: str) -> str:
    """Return text as one part of a path that no other text has; safe text is unchanged."""
    part = path_part(text)
    return part if part == text else f"{part}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def printable(text: str) -> str:
    r"""Return text for a terminal: control characters are written as their codes (``\x1b``); lines and tabs stay."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(text: str) -> str:
    """Return JSON for a terminal: the same values, with control characters as JSON escapes."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def csv_cell(value: object) -> object:
    """Return a value for a CSV file: text that a spreadsheet would run gets a leading apostrophe."""
    if not isinstance(value, str) or value[:1].isalnum():
        return value
    return f"'{value}" if _RUN_BY_SPREADSHEETS.match(value) else value


def without_home_folders(text: str) -> str:
    """Return text with ``~`` for the home folder of any user: its name is that user's."""
    return _HOME.sub("~", text)
