"""The JSON objects of a text, however they are joined: one a line, in arrays, pretty, appended, in a page.

What is around them is given too, so that a reader can say what it left out. ``NaN`` and its kin, which JSON does not
have and many tools write, are ``NotFinite``: a text, so that no figure is ever made of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_BETWEEN = re.compile(r"[\s,\[\]\ufeff\x1e]*")
# Words before an object, such as a command, a tag or a service's name, have neither quotes nor commas, so that what is
# left of a torn object is none.
WORDS_BEFORE = r"[^\"{},;\n]{0,200}?[ \t=:>(\[]"
_THIS_LINE = re.compile(rf"{WORDS_BEFORE}\{{(?=[ \t]*(?:\"|\}}|$))", re.MULTILINE)
_ALONE = re.compile(r"[ \t,\[\]\ufeff\x1e]*")
_LEAD = re.compile(rf"[ \t]*|{WORDS_BEFORE}")
_FAR = 200
"""Characters of words before an object."""
_PIECE = 4096
"""Characters of an object that are decoded at first: an error of Python's decoder counts all lines before it."""
_LONGEST_WORD = 64  # of JSON, beside texts
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?|1\.#(?:QNAN|IND|INF))(?:\([a-z]{0,8}\))?(?![\w.])", re.IGNORECASE)
# A JSON string ends on its line, so that an odd quote in the text around costs no more than the line it is on.
_TOKEN = re.compile(rf'"(?:[^"\\\n]|\\.)*"?|(?<![\w.#])(?P<odd>{_NOT_FINITE.pattern})', re.IGNORECASE)
_BEGIN = re.compile(r"\{\s*(?:\"|\}|$)|\[\s*(?:\{|$)", re.MULTILINE)
_STARTS = re.compile(r"\s*(?:\{|\[\s*(?:[\[{\]\d\"]|$))")
_REMNANT = re.compile(r"\"\s*:|\},|\}\}|\]\}")
_WORDS_BEHIND = re.compile(r"[ \t;]*\n[^\"{}\[\]]*")
_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class NotFinite(str):
    """A number that is none: ``nan``, ``inf`` or ``-inf``."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> NotFinite:
        """Return the C library's name of a spelling such as ``Infinity`` or ``-nan(ind)``."""
        lower = text.lower()
        return cls(("-inf" if lower.startswith("-") else "inf") if "inf" in lower else "nan")


_DECODER = json.JSONDecoder(parse_constant=NotFinite.of)


class Part(NamedTuple):
    """One piece of a text.

    Attributes:
        line: where it begins, from 1.
        source: what is there; empty for an object.
        content: the object; None for what is none.
        problem: why it is none; empty for text between objects.
        is_cut: whether the text ends inside it.
    """

    line: int
    source: str = ""
    content: Mapping[str, Any] | None = None
    problem: str = ""
    is_cut: bool = False


def json_in(text: str) -> str:
    """Return the JSON of a page, such as between the fences of Markdown or below a command; lines keep their number.

    What may be a part of an object, at either end, stays.
    """
    begins = () if _STARTS.match(text) else (found.start() for found in _BEGIN.finditer(text))
    start = next((at for at in begins if _LEAD.fullmatch(_before(text, at))), 0)
    if start and not is_remnant(text[:start]):
        text = "\n" * text.count("\n", 0, start) + text[start:]
    last = max(text.rfind("}"), text.rfind("]")) + 1
    is_followed = last and text[last:].strip() and _WORDS_BEHIND.fullmatch(text, last)
    return text[:last] if is_followed else text


def is_remnant(text: str) -> bool:
    """Say whether a text that is no object may have been a part of one."""
    return _REMNANT.search(text) is not None


def rows_within(content: object) -> list[Mapping[str, Any]] | None:
    """Return the objects of a list that an object holds and nothing else: a wrapper around them; None of any other."""
    (rows,) = content.values() if isinstance(content, dict) and len(content) == 1 else (None,)
    return rows if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows) else None


def load_json(text: str) -> object:
    """Return the value that a whole text is.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if not _is_odd(text, error.pos):
            raise
    return _DECODER.decode(_mended(text))


def parts_of(text: str) -> Iterator[Part]:
    """Yield every object of a text, and what stands between them, in order; takes time linear in its length."""
    at, line, counted, is_mended = 0, 1, 0, False
    while at < len(text):
        if text[at] != "{" and (begun := _BETWEEN.match(text, at)):
            at = begun.end()
            if at == len(text):
                return
        line += text.count("\n", counted, at)
        counted = at
        if text[at] != "{":
            part, end = _text_between(text, at, line)
        else:
            try:
                value, end = _object_at(text, at)
                part = Part(line, "", value)
            except _Fault as error:
                if not is_mended and _is_odd(text, error.pos):
                    text, is_mended = text[:at] + _mended(text[at:]), True
                    continue
                part, end = _broken(text, at, line, error)
            except (ValueError, RecursionError):
                yield Part(line, text[at : _line_end(text, at)], problem="a number or a nesting beyond all measure")
                return
        yield part
        at = end


class _Fault(ValueError):
    """What is wrong with JSON, and where in the text."""

    def __init__(self, msg: str, pos: int) -> None:
        super().__init__(msg)
        self.msg, self.pos = msg, pos


def _object_at(text: str, at: int) -> tuple[Any, int]:
    """Return the object that begins at a place, and where it ends.

    Raises:
        _Fault: there is none.
        ValueError, RecursionError: it is beyond all measure.
    """
    size = _PIECE
    while True:
        piece = text[at : at + size]
        try:
            value, end = _DECODER.raw_decode(piece)
        except json.JSONDecodeError as error:
            is_end = error.pos > size - _LONGEST_WORD or error.msg.startswith("Unterminated string")
            if not is_end or at + size >= len(text):
                raise _Fault(error.msg, at + error.pos) from error
        else:
            return value, at + end
        size *= 16


def _text_between(text: str, at: int, line: int) -> tuple[Part, int]:
    here = _THIS_LINE.match(text, at)
    end = here.end() - 1 if here else _next_object(text, at)
    return Part(line, text[at:end].rstrip(" \t\n,[\ufeff\x1e")), end


def _broken(text: str, at: int, line: int, error: _Fault) -> tuple[Part, int]:
    """Return what begins as an object and is none, and where to go on: on the line after the one where it fails."""
    if _ends_early(error, text):
        return Part(line, text[at:], problem=error.msg, is_cut=True), len(text)
    end = _next_object(text, max(error.pos - 1, at))
    where = line + text.count("\n", at, error.pos)
    return Part(line, text[at:end], problem=f"{error.msg} on line {where}"), end


def _next_object(text: str, at: int) -> int:
    """Return where the next object begins that is first on its line; the end of the text where there is none."""
    place = text.find("{", _line_end(text, at))
    while place >= 0 and not _ALONE.fullmatch(before := _before(text, place)):
        if _LEAD.fullmatch(before) and _BEGIN.match(text, place):
            break
        place = text.find("{", place + 1)
    return place if place >= 0 else len(text)


def _before(text: str, at: int) -> str:
    """Return what stands before a place on its line; something that is no words where that is far away."""
    start = text.rfind("\n", max(0, at - _FAR - 1), at) + 1
    return text[start:at] if start or at <= _FAR else '"'


def _is_odd(text: str, at: int) -> bool:
    """Whether a number that is none stands where decoding failed; some spellings fail within."""
    return _NOT_FINITE.search(text, max(0, at - 4), at + 12) is not None


def _mended(text: str) -> str:
    """Return a text with numbers that are none as Python spells them."""
    return _TOKEN.sub(lambda found: _NAMES[NotFinite.of(found["odd"])] if found["odd"] else found[0], text)


def _ends_early(error: _Fault, text: str) -> bool:
    """Whether more text could have made it JSON."""
    if error.msg.startswith("Unterminated string"):
        return True
    return len(text) - error.pos < 1000 and bool(re.fullmatch(r"[a-zA-Z0-9.+-]*", text[error.pos :].strip()))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
