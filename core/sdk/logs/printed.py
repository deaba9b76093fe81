"""What programs print for people: without colours and lines drawn over each other; notes on what is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ...records.raw_log import RawLogError

# Also as a log viewer shows them, or as they are left where the escape character was lost on the way.
_COLOUR = re.compile(
    r"(?:\x1b|\x9b|\^\[|␛|\\x1b|\\u001b|\\033|\\e)\[[0-9;?]{0,20}[A-Za-z]|\x1b\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)|\[[0-9;]{1,16}m"
)
_AS_JSON = re.compile(r'\{[^\n{}]{0,500}"(?:log|MESSAGE|line)" ?: ?"')
_SERVICE = re.compile(r"\s{0,20}(?:(\[\d{2,6}\]) |([\w.-]{1,64}) {0,40}\| )")
_JOURNALED = re.compile(r"(?:^|\s)([\w./-]{1,64}\[\d{1,8}\])$")
LEFT_OUT = "left out: "
"""Begins a note on what is not in a run, though it is in its file."""

_NAMED = 5  # pieces left out that notes name


def unpainted(text: str) -> str:
    """Return a text without colours, and of lines that were drawn over each other the last; lines keep their number.

    Of a log that a container's driver or the journal keeps as JSON, these are the lines that were printed.
    """
    if _AS_JSON.match(text):
        text = "".join(_printed(line) for line in text.split("\n"))
    if "[" in text or "\x1b" in text:
        text = _COLOUR.sub("", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")) if "\r" in text else text


def _printed(line: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return f"{line}\n"
    found = [
        entry[name]
        for name in ("log", "MESSAGE", "line")
        if isinstance(entry, dict) and isinstance(entry.get(name), str)
    ]
    if not found:
        return f"{line}\n"
    return str(found[0]) if "log" in entry else f"{found[0]}\n"


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
    found: dict[str, list[tuple[int, str]]] = {}
    for at, line in enumerate(lines, start=1):
        found.setdefault(_process(line), []).append((at, line))
    if len(found) <= 2:
        return [[*enumerate(lines, start=1)]]
    return list(found.values())


def _process(line: str) -> str:
    if "]" not in line and "| " not in line:
        return ""
    start = line[:200]
    if "] " in start or "| " in start:
        if service := _SERVICE.match(start):
            return service[1] or service[2]
    end = start.find("]: ")
    journaled = _JOURNALED.search(start[: end + 1]) if end > 0 else None
    return journaled[1] if journaled else ""
