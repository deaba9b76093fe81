"""The page about the Python API, generated from the code itself: `make docs` writes it to docs/api.md."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property

import decodebench
from decodebench.core.host import hook_reference

_HEAD = """# Python API

Generated from the code by `make docs`; do not edit. Everything here is a name of `decodebench` itself;
[python.md](python.md) shows how the parts are used. What a plugin returns or gets is on the page about
[hooks](hooks.md).
"""
_ORDER = ("run", "open", "compare", "Experiment", "Results", "Comparison", "Table", "WhenBusy")
_SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes|Source):")
_ENTRY = re.compile(r" {4}([\w*, ]+): (.*)")
_DESCRIBED = (property, cached_property, classmethod, staticmethod)


def markdown() -> str:
    """Return the page."""
    hooks = hook_reference.markdown(decodebench)
    elsewhere = [name for name in decodebench.__all__ if f"\n### {name}\n" in hooks]
    values = {name: getattr(decodebench, name) for name in decodebench.__all__}
    errors = [name for name, value in values.items() if inspect.isclass(value) and issubclass(value, Exception)]
    here = [name for name in decodebench.__all__ if name not in {*elsewhere, *errors, "API_VERSION", "hookimpl"}]
    lines = [_HEAD]
    for name in sorted(here, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        lines += _entry(name)
    links = ", ".join(f"[`{name}`](hooks.md#{name.lower()})" for name in elsewhere)
    lines += ["## For plugins\n", f"{links}.\n", "## Errors\n", "| error | |", "| --- | --- |"]
    lines += [f"| `{name}` | {_prose(inspect.getdoc(getattr(decodebench, name)) or '')} |" for name in errors]
    return "\n".join([*lines, ""])


def _entry(name: str) -> Iterator[str]:
    """Yield heading, signature and description of a function or a class, then those of its public members."""
    value = getattr(decodebench, name)
    yield f"## {name}\n"
    if not isinstance(value, type):
        yield from (
            _described(value, name) if inspect.isfunction(value) else [f"`{str(value).replace('typing.', '')}`\n"]
        )
        return
    yield from _paragraphs(inspect.getdoc(value) or "")
    for node in _body(value):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            member = inspect.getattr_static(value, node.name)
            yield f"### {name}.{node.name}\n"
            is_read = isinstance(member, property | cached_property)
            yield f"```python\n{_signature(node, is_read=is_read)}\n```\n"
            yield from _paragraphs(ast.get_docstring(node) or "")


def _body(value: type) -> Iterator[ast.stmt]:
    """Yield what stands in a class of the API, then what it has of another one and does not write itself."""
    written = set()
    for one in value.__mro__:
        if one.__module__.startswith("decodebench.core.api."):
            tree = ast.parse(inspect.getsource(one))
            (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
            for node in body:
                if getattr(node, "name", None) not in written:
                    yield node
            written |= {node.name for node in body if isinstance(node, ast.FunctionDef)}


def _described(function: Callable[..., object], name: str) -> Iterator[str]:
    tree = ast.parse(inspect.getsource(function))
    (node,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    yield f"```python\n{_signature(node, is_read=False)}\n```\n"
    yield from _paragraphs(ast.get_docstring(node) or "")


def _signature(node: ast.FunctionDef, *, is_read: bool) -> str:
    """Return a function's head as its source has it, without ``self``; of a property its name and type."""
    returned = ast.unparse(node.returns) if node.returns else "None"
    if is_read:
        return f"{node.name}: {returned}"
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    whole = f"{node.name}({arguments}) -> {returned}"
    if len(whole) <= 110:
        return whole
    parts = ast.unparse(node.args).removeprefix("self, ").split(", ")
    return f"{node.name}(\n" + "".join(f"    {part},\n" for part in _joined(parts)) + f") -> {returned}"


def _joined(parts: list[str]) -> Iterator[str]:
    """Put together again what was split inside of brackets."""
    held = ""
    for part in parts:
        held = f"{held}, {part}" if held else part
        if all(held.count(one) == held.count(other) for one, other in ("[]", "()", "{}")):
            yield held
            held = ""


def _paragraphs(docstring: str) -> Iterator[str]:
    """Yield a docstring as Markdown: its lists of arguments and errors become lists, examples stay as they are."""
    for part in docstring.split("\n\n"):
        head, _, rest = part.partition("\n")
        if _SECTION.fullmatch(head):
            yield f"*{head.removesuffix(':')}*\n"
            yield from _entries(rest)
            yield ""
        elif part.startswith("    "):
            yield f"```python\n{inspect.cleandoc(part)}\n```\n"
        else:
            yield f"{_prose(part.removesuffix('::'))}\n"


def _entries(text: str) -> Iterator[str]:
    """Yield the items of a docstring's section; a line that is indented further goes on with the item before it."""
    entry = ""
    for line in text.split("\n"):
        if found := _ENTRY.fullmatch(line):
            if entry:
                yield entry
            entry = f"- `{found[1]}`: {_prose(found[2])}"
        else:
            entry = f"{entry} {_prose(line.strip())}" if entry else f"- {_prose(line.strip())}"
    if entry:
        yield entry


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
