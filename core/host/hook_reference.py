"""The page about every hook, generated from the hookspecs and from all classes that a plugin returns or gets."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any

from .. import contract, errors, records
from ..contract import hookspecs
from ..records.tables import ddl
from .contributions import type_of

_HEAD = f"""# Hooks

Generated from `core/contract/hookspecs.py` and the classes that it refers to by `make docs`; do not edit. This is the
plugin API {hookspecs.API_VERSION}. A plugin implements the hooks that it needs, each as a function without arguments
marked `@decodebench.hookimpl`; [tutorial.md](tutorial.md) builds one, [plugins.md](plugins.md) says how the parts are
used. Below the hooks are [all classes](#classes) that a plugin returns or gets, the [tables of the store](#the-store)
and the [errors](#errors) that it may raise. A field without a default is required.
"""
_STORE = """## The store

What the `sql` of a figure and an exporter read, as DuckDB has it. The tables `runs`, `samples` and `steps` have the
fields of [Run](#run), [Sample](#sample) and [RecordedStep](#recordedstep) as columns; the views `run_metrics` and
`sample_metrics` have those of `runs` and `samples` and every figure of [metrics.md](metrics.md). JSON columns are read
with `->>`.

| table or view | columns |
| --- | --- |"""
_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


def markdown(exported: Collection[str]) -> str:
    """Return the page.

    Args:
        exported: the names that ``decodebench`` itself has.
    """
    hooks = [name for name in vars(hookspecs) if name.startswith("decodebench_")]
    rows = [f"| [`{hook}`](#{hook}) | {_line(getattr(hookspecs, hook).__doc__)} |" for hook in hooks]
    parts = [_HEAD, "| hook | |", "| --- | --- |", *rows, ""]
    public = _public()
    shown = [type_of(hook).__name__ for hook in hooks]
    for hook, name in zip(hooks, shown, strict=True):
        function = getattr(hookspecs, hook)
        returned = str(inspect.signature(function).return_annotation)
        parts += [
            f"## {hook}\n",
            f"`{hook}() -> {returned}`\n",
            f"{_line(function.__doc__)}\n",
            *public[name].page(public, exported),
        ]
    parts.append("## Classes\n")
    for name in shown:  # grows on the way, by what the classes in it name
        new = [other for other in public[name].names if other in public and other not in shown]
        shown += new
        for other in new:
            parts += public[other].page(public, exported)
    parts += [_STORE, *_tables(), "", "## Errors\n", "From `decodebench`.\n", "| error | |", "| --- | --- |"]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    return "\n".join([*parts, *(f"| `{kind.__name__}` | {_line(kind.__doc__)} |" for kind in kinds), ""])


class _Public:
    """A public class, or another name for a type, as its source has it."""

    def __init__(self, module: str, node: ast.ClassDef | ast.Assign, value: Any, about: str) -> None:  # noqa: ANN401
        self.node, self.value, self.about = node, value, about
        self.name = node.name if isinstance(node, ast.ClassDef) else ast.unparse(node.targets[0])
        self.module = f"decodebench{module.partition('decodebench')[2]}"
        self.fields = list(self._fields())
        self.methods = [f for f in getattr(node, "body", ()) if isinstance(f, ast.FunctionDef) and f.name[0] != "_"]
        heads = [text for _, text, _, _ in self.fields] + [_signature(method) for method in self.methods]
        if isinstance(node, ast.Assign):
            heads.append(ast.unparse(node.value))
        self.bases = [base.__name__ for base in getattr(value, "__bases__", ()) if _has_fields(base)]
        self.names = list(dict.fromkeys(_NAME.findall(" ".join([*self.bases, *heads]))))

    def page(self, public: Collection[str], exported: Collection[str]) -> Iterator[str]:
        """Yield the lines about it, with links to what it names of ``public``."""
        home = hookspecs.PROJECT if self.name in exported else self.module
        yield f"### {self.name}\n"
        yield f"`from {home} import {self.name}`. {_prose(self.about)}".rstrip() + "\n"
        if isinstance(self.node, ast.Assign):
            yield f"`{self.name} = {ast.unparse(self.node.value)}`\n"
        if inherited := [f"[{name}](#{name.lower()})" for name in self.bases if name in public]:
            yield f"Has the fields of {' and '.join(inherited)} too.\n"
        if self.fields:
            yield "| field | type | default | |"
            yield "| --- | --- | --- | --- |"
            for name, text, default, about in self.fields:
                yield f"| `{name}` | {_cell(text)} | {_cell(default)} | {about} |"
            yield ""
        must = sorted(self.methods, key=lambda method: not _is_abstract(method))
        for method in must:
            mark = "**Must be written.** " if _is_abstract(method) else ""
            yield f"- `{_signature(method)}`: {mark}{_line(ast.get_docstring(method), whole=True)}"
        if must:
            yield ""
        links = [f"[{name}](#{name.lower()})" for name in self.names if name in public and name != self.name]
        if links:
            yield f"Named here: {', '.join(links)}.\n"

    def _fields(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield name, type, default and description of every field."""
        listed = _listed(self.about)
        for node, following in _pairs(getattr(self.node, "body", [])):
            if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
                name = ast.unparse(node.target)
                about = listed.get(name) or _description(node.annotation) or _text_of(following)
                annotation = ast.unparse(_bare(node.annotation))
                default, described = self._default(name)
                yield name, re.sub(r"^ClassVar\[(.*)\]$", r"\1", annotation), default, _line(described or about)

    def _default(self, name: str) -> tuple[str, str | None]:
        """Return a field's default as Python has it, empty where it must be given, and its description."""
        if field := getattr(self.value, "model_fields", {}).get(name):
            return "" if field.is_required() else repr(field.get_default(call_default_factory=True)), field.description
        if dataclasses.is_dataclass(self.value):
            (found,) = [field for field in dataclasses.fields(self.value) if field.name == name]
            made = found.default if found.default_factory is dataclasses.MISSING else found.default_factory()
        else:
            made = getattr(self.value, name, dataclasses.MISSING)
        shown = made.__name__ if isinstance(made, type) else repr(made)
        return "" if made is dataclasses.MISSING else shown, None


def _public() -> dict[str, _Public]:
    """Return every class and every other name for a type in the public rooms."""
    found: dict[str, _Public] = {}
    modules = [
        f"{room.__name__}.{info.name}" for room in (contract, records) for info in pkgutil.iter_modules(room.__path__)
    ]
    for name in (*modules, f"{errors.__name__.rpartition('.')[0]}.cache"):
        module = import_module(name)
        for node, following in _pairs(ast.parse(inspect.getsource(module)).body):
            if isinstance(node, ast.ClassDef):
                found[node.name] = _Public(name, node, getattr(module, node.name), ast.get_docstring(node) or "")
            elif isinstance(node, ast.Assign) and re.fullmatch(r"[A-Z][a-z]\w*", alias := ast.unparse(node.targets[0])):
                found[alias] = _Public(name, node, None, _text_of(following))
    return found


def _tables() -> Iterator[str]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(ddl())
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_name != 'meta' ORDER BY table_name, ordinal_position"
        ).fetchall()
    columns: dict[str, list[str]] = {}
    for table, column, kind in rows:
        columns.setdefault(table, []).append(f"`{column} {kind}`")
    for table, names in columns.items():
        known = columns.get({"run_metrics": "runs", "sample_metrics": "samples"}.get(table, ""), [])
        also = f"all of `{table.removesuffix('_metrics')}s`, " if known else ""
        yield f"| `{table}` | {also}{', '.join(name for name in names if name not in known)} |"


def _has_fields(value: type) -> bool:
    return bool(getattr(value, "model_fields", None) or getattr(value, "__dataclass_fields__", None))


def _bare(annotation: ast.expr) -> ast.expr:
    """Return the type of ``Annotated[type, ...]``."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        return annotation.slice.elts[0]
    return annotation


def _description(annotation: ast.expr) -> str:
    """Return the ``description`` that is annotated to a type."""
    keywords = (word for node in ast.walk(annotation) if isinstance(node, ast.Call) for word in node.keywords)
    found = (word.value for word in keywords if word.arg == "description")
    return next((str(value.value) for value in found if isinstance(value, ast.Constant)), "")


def _signature(method: ast.FunctionDef) -> str:
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(method.args))
    return f"{method.name}({arguments}) -> {ast.unparse(method.returns) if method.returns else None}"


def _is_abstract(method: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "abstractmethod" for decorator in method.decorator_list)


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Yield every statement with the next one, which may describe it."""
    return zip(body, [*body[1:], None], strict=False)


def _text_of(node: ast.stmt | None) -> str:
    """Return the string that stands below what it describes."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def _listed(docstring: str) -> dict[str, str]:
    """Return the names below ``Attributes:`` with what they are."""
    section = docstring.partition("\nAttributes:\n")[2]
    entries = re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: text for names, text in entries for name in names.split(", ")}


def _prose(docstring: str) -> str:
    """Return a docstring without its list of attributes, as Markdown."""
    text = docstring.partition("\nAttributes:\n")[0]
    return "\n\n".join(_line(part, whole=True) for part in text.strip().split("\n\n"))


def _line(docstring: str | None, *, whole: bool = False) -> str:
    """Return a docstring's first paragraph, or all of it, in one line."""
    text = inspect.cleandoc(docstring or "")
    text = _SECTION.sub(r"*\1*:", text if whole else text.split("\n\n")[0])
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""
