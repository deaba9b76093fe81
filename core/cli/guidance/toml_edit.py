"""Change one value of a TOML text and nothing else of it: edit its lines, read it again, and compare."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def set_in(text: str, path: Sequence[str], value: object) -> str | None:
    """Return a TOML text with one value set; None where no edit of a line gives exactly that.

    Args:
        text: valid TOML.
        path: of the value: its tables, made where they are not there, and its name.
        value: what it becomes.
    """
    wanted = _with(tomllib.loads(text), path, value)
    if wanted is None:
        return None
    plain = text.replace("\r\n", "\n")
    made = next((made for made in _edits(plain, path, wanted) if _is(made, wanted)), None)
    return made.replace("\n", "\r\n") if made is not None and plain != text else made


def read_key(key: str) -> list[str] | None:
    """Return the parts of a dotted key, which may be quoted as in TOML; None where it is none."""
    found = _read(f"{key} = 0") if "\n" not in key else None
    if found is None:
        return None
    path: list[str] = []
    content: Any = found
    while isinstance(content, dict):
        ((name, content),) = content.items()
        path.append(name)
    return path


def literal(value: object) -> str:
    """Return a value as TOML writes it, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key_text([name])} = {literal(one)}' for name, one in value.items())} }}"
        case _:
            return str(value)


def key_text(path: Sequence[str]) -> str:
    """Return a dotted key as TOML writes it."""
    return ".".join(name if _BARE.fullmatch(name) else literal(name) for name in path)


def _edits(text: str, path: Sequence[str], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield texts that may be it: with a line changed, one more below its table's head, a table more, a dotted key."""
    lines = text.split("\n")
    table, line = list(path[:-1]), f"{key_text(path[-1:])} = {literal(_at(wanted, path))}"
    heads: list[int] = []
    within: list[str] = []
    for number, old in enumerate(lines):
        if (head := _head(old)) is not None:
            within = head
            heads += [number] if head == table else []
            continue
        own = within + found if (found := _key_of(old)) else []
        if own and own == list(path[: len(own)]):  # the value itself, or an inline table around it
            yield "\n".join([*lines[:number], _replaced(old, literal(_at(wanted, own))), *lines[number + 1 :]])
    for number in heads:
        yield "\n".join([*lines[: number + 1], line, *lines[number + 1 :]])
    body = text.rstrip("\n")
    yield "\n".join([*([body, ""] if body else []), f"[{key_text(table)}]", line, ""])
    yield f"{key_text(path)} = {literal(_at(wanted, path))}\n{text}"


def _replaced(line: str, value: str) -> str:
    """Return a line of a key and a value with another value; what is before and behind it stays."""
    behind = len(line)
    for sign in re.finditer(r"\s*#", line):
        if _read(line[: sign.start()]):
            behind = sign.start()
            break
    before = next(sign.end() for sign in re.finditer(r"=[ \t]*", line) if _read(f"{line[: sign.start()]}= 0"))
    return line[:before] + value + line[behind:]


def _head(line: str) -> list[str] | None:
    """Return the table that a line begins, such as ``[ backends . foo ]``; None where it begins none."""
    if not line.lstrip().startswith("["):
        return None
    content: Any = _read(line)
    path: list[str] = []
    while isinstance(content, dict) and content:
        ((name, content),) = content.items()
        path.append(name)
    return path or None


def _key_of(line: str) -> list[str]:
    """Return the key, in its table, of a line that is one assignment; empty where it is none."""
    if _read(line) is None:
        return []
    for sign in re.finditer("=", line):
        found = read_key(line[: sign.start()].strip())
        if found is not None:
            return found
    return []


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _is(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a text says what is wanted, in any order; as JSON, where 1 is not true and nan is nan."""
    found, expected = (json.dumps(one, sort_keys=True, default=repr) for one in (_read(text), wanted))
    return found == expected


def _with(content: dict[str, Any], path: Sequence[str], value: object) -> dict[str, Any] | None:
    """Return a copy of the content with a value set; None where a table's name has a value."""
    made = deepcopy(content)
    table: Any = made
    for name in path[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return None
    table[path[-1]] = value
    return made


def _at(content: Mapping[str, Any], path: Sequence[str]) -> object:
    found: Any = content
    for name in path:
        found = found[name]
    return found
