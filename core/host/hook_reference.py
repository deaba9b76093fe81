"""The page about every hook, generated from the hookspecs and from the classes that they ask for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass

from ..contract import hookspecs
from .contributions import type_of

_HEAD = f"""# Hooks

Generated from `core/hookspecs.py` and the classes that it names by `make docs`; do not edit. This is the plugin API
{hookspecs.API_VERSION}. A plugin implements the hooks that it needs, each as a function without arguments marked
`@decodebench.hookimpl`; [tutorial.md](tutorial.md) builds one, [plugins.md](plugins.md) says how the parts are used.
"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes):$", re.MULTILINE)


def markdown() -> str:
    """Return the page."""
    hooks = [name for name in vars(hookspecs) if name.startswith("decodebench_")]
    rows = [f"| [`{hook}`](#{hook}) | {_first(getattr(hookspecs, hook))} |" for hook in hooks]
    table = "\n".join(["| hook | |", "| --- | --- |", *rows])
    return "\n".join([_HEAD, table, "", *("\n".join(_hook(hook)) for hook in hooks)])


def _hook(hook: str) -> Iterator[str]:
    function = getattr(hookspecs, hook)
    returned = str(inspect.signature(function).return_annotation)
    asked = type_of(hook)
    yield f"## {hook}\n"
    yield f"`{hook}() -> {returned}`\n"
    yield f"{_text(function)}\n"
    yield f"### {asked.__name__}\n"
    yield f"`from decodebench import {asked.__name__}`. {_text(asked)}\n"
    members = list(_methods(asked)) if not is_dataclass(asked) else []
    if members:
        yield "| member | |"
        yield "| --- | --- |"
        yield from members
        yield ""


def _methods(kind: type) -> Iterator[str]:
    """Yield a row for every method that the class defines for others, what must be written first."""
    own = [(name, getattr(kind, name)) for name in vars(kind) if not name.startswith("_")]
    functions = [(name, member) for name, member in own if callable(member) and not isinstance(member, type)]
    functions.sort(key=lambda pair: not getattr(pair[1], "__isabstractmethod__", False))
    for name, member in functions:
        must = "**must be written.** " if getattr(member, "__isabstractmethod__", False) else ""
        yield f"| `{name}{_arguments(member)}` | {must}{_first(member)} |"


def _arguments(member: object) -> str:
    assert callable(member)
    names = [name for name in inspect.signature(member).parameters if name not in ("self", "cls")]
    return f"({', '.join(names)})"


def _first(documented: object) -> str:
    """Return the first paragraph of a docstring in one line."""
    return _code(" ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split()))


def _text(documented: object) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    lines, is_listed = [], False
    for line in (inspect.getdoc(documented) or "").splitlines():
        if _SECTION.match(line):
            is_listed = True
        elif is_listed and re.match(r"    \S", line):
            name, colon, words = line.strip().partition(": ")
            lines.append(f"- {_names(name) if colon else ''}{words or name}")
        elif is_listed and line.strip():
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return _code("\n".join(lines)).strip()


def _names(text: str) -> str:
    return ", ".join(f"`{name.strip()}`" for name in text.split(",")) + ": "


def _code(text: str) -> str:
    return text.replace("``", "`")
