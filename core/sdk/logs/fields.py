"""Values out of other programs' files: each is checked, and a bad one names file, line and field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue

from ...records.raw_log import RawLogError
from .json_values import NotFinite
from .text import malformed

MOST_TOKENS = 1_000_000
"""Above any length that is generated; a damaged count must not make millions of records."""

T = TypeVar("T")

_MOST = 2**53
_NUMBER = re.compile(r"-?(?:[0-9]{1,15}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile("[0-9]{1,15}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMMA = re.compile(r"[0-9]{1,15},[0-9]{1,30}")
_GROUPS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")  # also one thousand and some, in another country
_GROUPED = re.compile(
    r"([1-9][0-9]{0,2}(?:(?:,[0-9]{3}){1,4}(?=\.)|(?:[.' ][0-9]{3}){1,4}(?=,)))[.,]([0-9]{1,30})"
)  # thousands and decimals, so that neither sign can be the other


def with_point(text: str) -> str:
    """Return a printed number with a decimal point and nothing between its thousands, such as 1234.5 for 1.234,5.

    It stays as it is where a comma may be either.
    """
    if "," not in text:
        return text
    if grouped := _GROUPED.fullmatch(text):
        return f"{re.sub('[^0-9]', '', grouped[1])}.{grouped[2]}"
    return text.replace(",", ".") if _COMMA.fullmatch(text) and not _GROUPS.fullmatch(text) else text


def plain_number(text: str) -> float | None:
    """Read a printed number, with a point or a comma for its decimals; None where it is none."""
    digits = with_point(text) if "," in text else text
    value = float(digits) if _NUMBER.fullmatch(digits) else math.nan
    return value if math.isfinite(value) else None


def number(path: Path, line: int, field: str, text: str) -> float:
    """Read a printed number, zero or more.

    Raises:
        RawLogError: it is none, not finite or negative.
    """
    value = plain_number(text)
    if value is None or value < 0:
        raise malformed(path, line, field, f"{_shown(text)} must be a number >= 0")
    return value


def count(path: Path, line: int, field: str, text: str, least: int = 0) -> int:
    """Read a printed whole number of at least ``least``.

    Raises:
        RawLogError: it is none.
    """
    if not (_WHOLE.fullmatch(text) and int(text) >= least):
        raise malformed(path, line, field, f"{_shown(text)} must be an integer >= {least}")
    return int(text)


def percentages(path: Path, line: int, field: str, text: str) -> list[float]:
    """Read a printed list such as ``['0.0%', '9.8%']`` as shares.

    Raises:
        RawLogError: it is none.
    """
    inner = re.fullmatch(r"\[(.*)\]", "".join(text.split()))
    values = [part.strip("'\"") for part in inner[1].split(",")] if inner else []
    if not values or not all(value.endswith("%") for value in values):
        raise malformed(path, line, field, f"{_shown(text)} is not a list of percentages")
    return [round(number(path, line, field, value[:-1]) / 100, 9) for value in values]


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object of one line.

    Every reader raises ``RawLogError`` with file, line and field where the value is missing or of another kind.

    Attributes:
        path: the file.
        line: its line, from 1.
        content: the object.
        within: the names of the objects around it, each followed by a dot.
    """

    path: Path
    line: int
    content: Mapping[str, Any]
    within: str = ""

    def fail(self, name: str, text: str) -> RawLogError:
        """Build the error for one field."""
        return malformed(self.path, self.line, self.within + name, text)

    def has(self, name: str) -> bool:
        """Whether the field is there, and neither null nor a number that is none."""
        value = self.content.get(name)
        return value is not None and not isinstance(value, NotFinite)

    def optional(self, read: Callable[[str], T], name: str) -> T | None:
        """Return what a reader of this object makes of a field; None where it is missing or null."""
        return read(name) if self.has(name) else None

    def read(self, readers: Readers) -> dict[str, Any]:
        """Return what the readers make of their fields, as far as these are there."""
        return {name: read(self, name) for name, read in readers.items() if self.has(name)}

    def inner(self, name: str) -> Fields:
        """Return an object within this one."""
        return self._inner(name, self.content.get(name))

    def at(self, *names: str) -> Fields:
        """Return an object within objects, an empty one where any of them is missing or null.

        Raises:
            RawLogError: one of them is something else.
        """
        fields = self
        for name in names:
            fields = fields._inner(name, {} if not fields.has(name) else fields.content[name])
        return fields

    def rows(self, name: str) -> list[Fields]:
        """Return a list of objects within this one."""
        return [self._inner(f"{name}[{at}]", value) for at, value in enumerate(self.items(name))]

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.content.get(name)
        if not isinstance(value, str) or isinstance(value, NotFinite):
            raise self.fail(name, f"{_shown(value)} is not text")
        return value

    def first_text(self, *names: str) -> str | None:
        """Return the first of these fields that is a text, and not empty; None where none is."""
        found = (self.content.get(name) for name in names)
        return next((value for value in found if isinstance(value, str) and value), None)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.content.get(name)
        if not isinstance(value, bool):
            raise self.fail(name, f"{_shown(value)} is neither true nor false")
        return value

    def number(self, name: str) -> float:
        """Return a finite number, zero or more."""
        return self._number(name, self.content.get(name), least=0)

    def milliseconds(self, name: str) -> float:
        """Return a time in milliseconds, zero or more, in seconds."""
        return self.number(name) / 1e3

    def unix_time(self, name: str) -> str:
        """Return a time in whole seconds since 1970 as ISO 8601; empty where there is none."""
        return datetime.fromtimestamp(self.count(name, most=2**33), UTC).isoformat() if self.has(name) else ""

    def signed(self, name: str) -> float:
        """Return a finite number."""
        return self._number(name, self.content.get(name), least=-math.inf)

    def numbers(self, name: str) -> list[float]:
        """Return a list of finite numbers of either sign."""
        return [self._number(name, value, least=-math.inf) for value in self.items(name)]

    def times(self, name: str) -> list[float]:
        """Return a list of finite numbers, zero or more."""
        values = self.numbers(name)
        if values and min(values) < 0:
            raise self.fail(name, f"{min(values)} s is not a time")
        return values

    def count(self, name: str, least: int = 0, most: int = _MOST) -> int:
        """Return a whole number within limits."""
        return self._count(name, self.content.get(name), least, most)

    def tokens(self, name: str) -> int:
        """Return a number of tokens."""
        return self.count(name, most=MOST_TOKENS)

    def counts(self, name: str, least: int = 0, most: int = _MOST) -> list[int]:
        """Return a list of whole numbers within limits."""
        return [self._count(name, value, least, most) for value in self.items(name)]

    def tally(self, name: str) -> dict[str, int]:
        """Return an object of whole numbers."""
        inner = self.inner(name)
        return {key: inner.count(key) for key in inner.content}

    def scalar(self, name: str) -> JsonValue:
        """Return a finite number, a text, true, false or null; a number that is none as a text."""
        value = self.content.get(name)
        if isinstance(value, NotFinite):
            return str(value)
        if isinstance(value, str | bool | None):
            return value
        return self._number(name, value, least=-math.inf)

    def anything(self, name: str) -> JsonValue:
        """Return the value as it is; ``check_plain`` has looked at it."""
        value: JsonValue = self.content.get(name)
        return value

    def beyond(self, *known: str) -> dict[str, JsonValue]:
        """Return what the object has besides these fields, as it is; nulls are left out."""
        return {name: self.anything(name) for name in self.content if name not in known and self.has(name)}

    def _inner(self, name: str, value: object) -> Fields:
        if not isinstance(value, dict):
            raise self.fail(name, f"{_shown(value)} is not an object")
        return Fields(self.path, self.line, value, f"{self.within}{name}.")

    def items(self, name: str) -> list[Any]:
        """Return a list as it is; ``check_plain`` has looked at it."""
        value = self.content.get(name)
        if not isinstance(value, list):
            raise self.fail(name, f"{_shown(value)} is not a list")
        return value

    def _number(self, name: str, value: object, *, least: float) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and abs(value) < 1e300 and value >= least):  # type: ignore[arg-type, operator]
            wanted = "a finite number" if least < 0 else "a finite number >= 0"
            raise self.fail(name, f"{_shown(value)} must be {wanted}")
        return value  # type: ignore[return-value]

    def _count(self, name: str, value: object, least: int, most: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fail(name, f"{_shown(value)} must be an integer from {least} to {most}")
        return value


Readers = Mapping[str, Callable[[Fields, str], Any]]
"""How to read each of some fields, such as ``{"block_size": Fields.count}``."""


def flat(content: Mapping[str, Any], within: str = "") -> dict[str, JsonValue]:
    """Return the values of objects within objects by their dotted names; nulls and what is empty are left out."""
    found: dict[str, JsonValue] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= flat(value, f"{within}{name}.")
        elif value not in (None, "", []):
            found[within + name] = value
    return found


def check_plain(row: Fields) -> None:
    """Refuse what neither JSON nor the store can hold: numbers that are not finite, characters that are none.

    Raises:
        RawLogError: names the outermost field.
    """
    for name, content in row.content.items():
        if fault := _fault_in(name, content):
            raise row.fail(_shown_name(name), fault)


def _fault_in(*values: object) -> str:
    """Return what is wrong with one of some values, or of those within them; empty where nothing is."""
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            if not _is_text(value):
                return "half a character (a lone surrogate), or a NUL"
        elif isinstance(value, float):
            if not math.isfinite(value):
                return f"{value} is not a finite number"
        elif isinstance(value, dict):
            left += value.keys()
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
    return ""


def _is_text(value: str) -> bool:
    return "\0" not in value and (value.isascii() or not _SURROGATE.search(value))


def _shown_name(name: str) -> str:
    return name if _is_text(name) and name.isprintable() else ascii(name)


def _shown(value: object) -> str:
    if isinstance(value, NotFinite):
        return value
    text = ascii(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    return text if len(text) <= 40 else f"{text[:37]}..."
