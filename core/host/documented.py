"""Classes, other names for types and constants as their sources have them, with what each of them names."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from importlib.util import resolve_name

_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_ALIAS = re.compile(r"[A-Z][a-z]\w*")
_CONSTANT = re.compile(r"[A-Z][A-Z_]+")
_ROOT = __name__.partition(".")[0]

Key = tuple[str, str]
"""Module and name of a definition: two modules may have classes of one name."""


def find(module: str, text: str) -> dict[Key, Definition]:
    """Return the definitions that a type's text, as a module of the package has it, names."""
    found = (_definition(module, name) for name in dict.fromkeys(_NAME.findall(text)))
    return {one.key: one for one in found if one is not None}


def names_of_functions(module: str) -> dict[Key, Definition]:
    """Return the public classes of a module and what its public functions take and return."""
    found: dict[Key, Definition] = {}
    for name, node in _source(module).definitions.items():
        if isinstance(node, ast.ClassDef) and name[0] != "_":
            found |= find(module, name)
    for function in _source(module).functions:
        found |= find(module, _signature(function))
    return found


@dataclasses.dataclass(frozen=True)
class _Source:
    """What a module defines at its top level, and from where it imports names.

    Attributes:
        definitions: its classes, aliases and constants.
        texts: the string that follows an alias or a constant.
        imports: module and name by the name that it has here; those for the type checker too.
        functions: its public functions.
    """

    definitions: Mapping[str, ast.ClassDef | ast.Assign | ast.AnnAssign]
    texts: Mapping[str, str]
    imports: Mapping[str, Key]
    functions: tuple[ast.FunctionDef, ...]


@cache
def _source(module: str) -> _Source:
    loaded = import_module(module)
    tree = ast.parse(inspect.getsource(loaded))
    definitions: dict[str, ast.ClassDef | ast.Assign | ast.AnnAssign] = {}
    texts = {}
    for node, following in _pairs(tree.body):
        if isinstance(node, ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if _is_alias(node, name) or _CONSTANT.fullmatch(name):
                definitions[name], texts[name] = node, _text_of(following)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_")
    return _Source(definitions, texts, dict(_imports(tree, loaded.__package__ or "")), tuple(functions))


def _is_alias(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    """Whether a statement gives a type another name."""
    return _ALIAS.fullmatch(name) is not None and (
        isinstance(node, ast.Assign) or ast.unparse(node.annotation).endswith("TypeAlias")
    )


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, Key]]:
    """Yield the names that a module imports from modules of the package, with where they come from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            if module.partition(".")[0] == _ROOT:
                yield from ((alias.asname or alias.name, (module, alias.name)) for alias in node.names)


@cache
def _definition(module: str, name: str) -> Definition | None:
    """Return what a name in a module refers to, wherever it is defined; None where it is none of the package's own."""
    source = _source(module)
    if (node := source.definitions.get(name)) is not None and name[0] != "_":
        about = ast.get_docstring(node) if isinstance(node, ast.ClassDef) else source.texts[name]
        return Definition(module, name, node, about or "")
    if name in source.imports:
        other, original = source.imports[name]
        if f"{other}.{original}" not in sys.modules:  # a module has no page
            return _definition(other, original)
    return None


class Definition:
    """A class, another name for a type or a constant, as its source has it."""

    def __init__(self, module: str, name: str, node: ast.ClassDef | ast.Assign | ast.AnnAssign, about: str) -> None:
        self.module, self.name, self.node, self.about = module, name, node, about
        self.key = (module, name)
        self.value = getattr(import_module(module), name) if isinstance(node, ast.ClassDef) else None
        self.fields = list(self._fields())
        self.methods = [f for f in getattr(node, "body", ()) if isinstance(f, ast.FunctionDef) and f.name[0] != "_"]
        self.bases = [
            (base.__module__, base.__name__) for base in getattr(self.value, "__bases__", ()) if _has_fields(base)
        ]

    @cached_property
    def named(self) -> dict[Key, Definition]:
        """What it names: bases, types of fields and methods, and what its text calls by a full name or as constant."""
        found = {key: one for key in self.bases if (one := _definition(*key)) is not None}
        heads = [text for _, text, _, _ in self.fields] + [_signature(method) for method in self.methods]
        if not isinstance(self.node, ast.ClassDef) and self.node.value is not None:
            heads.append(ast.unparse(self.node.value))
        texts = [self.about, *(ast.get_docstring(method) or "" for method in self.methods)]
        heads += (name for text in texts for name in re.findall(rf"``({_CONSTANT.pattern})``", text))
        found |= find(self.module, " ".join(heads))
        for text in texts:
            for module, name in re.findall(rf"\b({_ROOT}(?:\.[a-z]\w*)+)\.([A-Z]\w*)", text):
                found |= find(module, name)
        return {key: one for key, one in found.items() if key != self.key}

    def page(self, titles: Mapping[Key, str], home: str) -> Iterator[str]:
        """Yield the lines about it.

        Args:
            titles: what everything is called that has a place on the page.
            home: where it is imported from.
        """
        yield f"### {titles[self.key]}\n"
        yield f"`from {home} import {self.name}`. {_prose(self.about)}".rstrip() + "\n"
        if not isinstance(self.node, ast.ClassDef) and self.node.value is not None:
            yield f"`{self.name} = {ast.unparse(self.node.value)}`\n"
        if inherited := [_link(titles[key]) for key in self.bases if key in titles]:
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
            yield f"- `{_signature(method)}`: {mark}{one_line(ast.get_docstring(method), whole=True)}"
        if must:
            yield ""
        if links := [_link(titles[key]) for key in self.named if key in titles]:
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
                yield name, re.sub(r"^ClassVar\[(.*)\]$", r"\1", annotation), default, one_line(described or about)

    def _default(self, name: str) -> tuple[str, str | None]:
        """Return a field's default as Python has it, empty where it must be given, and its description."""
        if field := getattr(self.value, "model_fields", {}).get(name):
            return "" if field.is_required() else repr(field.get_default(call_default_factory=True)), field.description
        made = getattr(self.value, name, dataclasses.MISSING)
        if dataclasses.is_dataclass(self.value):
            found = next((field for field in dataclasses.fields(self.value) if field.name == name), None)
            if found is not None:
                made = found.default if found.default_factory is dataclasses.MISSING else found.default_factory()
        shown = made.__name__ if isinstance(made, type) else repr(made)
        return "" if made is dataclasses.MISSING else shown, None


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
    if any(ast.unparse(decorator) in ("property", "cached_property") for decorator in method.decorator_list):
        return f"{method.name}: {ast.unparse(method.returns) if method.returns else None}"
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
    return "\n\n".join(one_line(part, whole=True) for part in text.strip().split("\n\n"))


def one_line(docstring: str | None, *, whole: bool = False) -> str:
    """Return a docstring's first paragraph, or all of it, in one line."""
    text = inspect.cleandoc(docstring or "")
    text = _SECTION.sub(r"*\1*:", text if whole else text.split("\n\n")[0])
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _link(title: str) -> str:
    """Return a link to a heading; anchors leave points out."""
    return f"[{title}](#{title.lower().replace('.', '')})"
