"""What programs print for people: without colours and lines drawn over each other; notes on what is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from ...records.raw_log import RawLogError
from .text import uncoloured

# Also as a log viewer shows them, or as they are left where the escape character was lost on the way.
# Each alternative begins with a character of its own, so that all other text is passed over by these alone.
_CODE = r"\[[0-9;?]{0,20}[A-Za-z]"
_COLOUR = re.compile(
    rf"\x1b(?:{_CODE}|\][^\x07\x1b\n]{{0,200}}(?:\x07|\x1b\\))|\x9b{_CODE}|\^\[{_CODE}|␛{_CODE}"
    rf"|\\(?:x1b|u001b|033|e){_CODE}|\[[0-9;]{{1,16}}m"
)
_INDENT = re.compile(r"^[ \t\u00a0]+", re.MULTILINE)
_LOGFMT = re.compile(r'(?:^|\s)(?:msg|message|log)=("(?:[^"\\]|\\.){0,20000}")')
_TAG = re.compile(r"</?(?:pre|code|samp|details|summary)(?: [^<>\n]{0,200})?>", re.IGNORECASE)
_OTHERS_OF = {" ": "\u00a0\u2007\u202f\u3000", "": "\u200b\u200c\u200d\u2060", "|": "│┃｜"}
"""Characters that pages have in place of plain ones."""
_ENTITY = re.compile(r"&(?:plusmn|#177|gt|lt|amp|nbsp|quot|#39);")
_BREAK = re.compile(r"<br ?/?>[ \t]{0,40}$", re.MULTILINE | re.IGNORECASE)
_ESCAPED = re.compile(r"\\([_*`~#+.!±\[\]()-])")
_SERVICE = re.compile(r"\s{0,20}(?:(\[\d{2,6}\]) |([\w.-]{1,64}) {0,40}\| )")
_JOURNALED = re.compile(r"[\w./-]{1,64}\[\d{1,8}\]")
LEFT_OUT = "left out: "
"""Begins a note on what is not in a run, though it is in its file."""

_NAMED = 5  # pieces left out that notes name


def unpainted(text: str) -> str:
    """Return a text as it was printed: without colours, and of lines that were drawn over each other the last.

    Of a log that is kept as logfmt these are the printed lines; of a page of HTML or Markdown its plain characters.
    Lines keep their number.
    """
    if '="' in text[:2000] and _LOGFMT.search(text[:2000]):
        text = "\n".join(_message(line) for line in text.split("\n"))
    text = without_colours(text)
    if "\r" in text:
        text = "\n".join([line.rstrip().rpartition("\r")[2] for line in text.split("\n")])
    elif " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip() for line in text.split("\n")])
    return _plain(text)


def without_colours(text: str) -> str:
    """Return a text without a terminal's colours, also where the escape character was lost or is spelt out."""
    return _COLOUR.sub("", text)


def json_text(text: str) -> str:
    """Return a text that has JSON in it without what is none: colours, and no-break spaces that indent."""
    text = uncoloured(text)
    if "\n\u00a0" in text:  # within strings there are no line ends
        text = _INDENT.sub(lambda found: found[0].replace("\u00a0", " "), text)
    return text


def _plain(text: str) -> str:
    """Return a text with the characters that a web page or Markdown writes in another way."""
    if not text.isascii():
        for plain, others in _OTHERS_OF.items():
            for other in others:
                text = text.replace(other, plain)
    if "&" in text:
        text = _ENTITY.sub(lambda found: unescape(found[0]).replace("\u00a0", " "), text)
    if "\\u00b1" in text:
        text = text.replace("\\u00b1", "±")
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("", text))
    return _ESCAPED.sub(r"\1", text) if "\\_" in text and ":\\" not in text else text


def _message(line: str) -> str:
    found = _LOGFMT.search(line)
    try:
        return str(json.loads(found[1])) if found else line
    except ValueError:
        return line


def left_out(path: Path, errors: Sequence[RawLogError]) -> tuple[str, ...]:
    """Return a note for each piece of a file that is left out: its line, its field and why."""
    texts = [f"{LEFT_OUT}line {str(error).removeprefix(f'{path}:')}" for error in errors[:_NAMED]]
    more = len(errors) - _NAMED
    return (*texts, f"{LEFT_OUT}{more} more") if more > 0 else tuple(texts)


def processes(lines: Sequence[str]) -> list[list[tuple[int, str]]]:
    """Return the lines of each program that a log is of, with their numbers from 1.

    Routers write `[port] ` before the lines of each server, container logs `name-1  | `, journals `name[pid]: `. Lines
    that have none of it are the others' where there is one program, and else a program of their own.
    """
    names = [process_of(line)[0] for line in lines]
    numbered = [*enumerate(lines, start=1)]
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    if len(found) <= 2:
        return [numbered]
    for name, line in zip(names, numbered, strict=True):
        found[name].append(line)
    return list(found.values())


def process_of(line: str) -> tuple[str, int]:
    """Return the program that a line says it is of, or an empty name, and where what it printed begins."""
    if "]" not in line and "| " not in line:
        return "", 0
    start = line[:200]
    if "] " in start or "| " in start:
        if service := _SERVICE.match(start):
            return service[1] or service[2], service.end()
    end = start.find("]: ")
    word = start[: end + 1].split()[-1] if end > 0 else ""
    return (word, end + len("]: ")) if _JOURNALED.fullmatch(word) else ("", 0)
