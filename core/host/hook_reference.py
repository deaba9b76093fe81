"""The page about every hook, generated from the hookspecs and from all classes that a plugin returns or gets."""

from __future__ import annotations

import inspect
import pkgutil
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType

from .. import contract, errors, records
from ..contract import hookspecs
from ..records.tables import ddl
from .documented import Definition, Key, find, names_of_functions, one_line

_HEAD = f"""# Hooks

Generated from `core/contract/hookspecs.py` and the classes that it refers to by `make docs`; do not edit. This is the
plugin API {hookspecs.API_VERSION}. A plugin implements the hooks that it needs, each as a function without arguments
marked `@decodebench.hookimpl`; [tutorial.md](tutorial.md) builds one, [plugins.md](plugins.md) says how the parts are
used. Below the hooks are [all classes](#classes) that a plugin returns or gets, those that
[the promised packages](#handed-out-by-promised-packages) hand out, the [tables of the store](#the-store) and the
[errors](#errors) that it may raise or meet. A field without a default is required.
"""
_STORE = """## The store

What the `sql` of a figure and an exporter read, as DuckDB has it. The tables `runs`, `samples` and `steps` have the
fields of [Run](#run), [Sample](#sample) and [RecordedStep](#recordedstep) as columns; the views `run_metrics` and
`sample_metrics` have those of `runs` and `samples` and every figure of [metrics.md](metrics.md). JSON columns are read
with `->>`.

| table or view | columns |
| --- | --- |"""
_ROOT = __name__.partition(".core.")[0]
_HANDING = ("collate.speculation", "viz.drawing")
"""Packages outside of the contract whose functions plugins may call (docs/promise.md)."""


def markdown(package: ModuleType) -> str:
    """Return the page.

    Args:
        package: ``decodebench``, for the names that it has itself.
    """
    hooks = [name for name in vars(hookspecs) if name.startswith("decodebench_")]
    rows = [f"| [`{hook}`](#{hook}) | {one_line(getattr(hookspecs, hook).__doc__)} |" for hook in hooks]
    returned = {hook: str(inspect.signature(getattr(hookspecs, hook)).return_annotation) for hook in hooks}
    roots = {hook: find(hookspecs.__name__, text) for hook, text in returned.items()}
    given = _reached({key: one for found in roots.values() for key, one in found.items()})
    handed = _reached(_handed_out())
    titles = _titles({**given, **handed}, package)
    parts = [_HEAD, "| hook | |", "| --- | --- |", *rows, ""]
    for hook, found in roots.items():
        parts += [f"## {hook}\n", f"`{hook}() -> {returned[hook]}`\n"]
        parts.append(f"{one_line(getattr(hookspecs, hook).__doc__)}\n")
        parts += (line for one in found.values() for line in one.page(titles, _home(one, package)))
    shown = {key for found in roots.values() for key in found}
    for heading, more in (("Classes", given), ("Handed out by promised packages", handed)):
        parts.append(f"## {heading}\n")
        for key, one in more.items():
            if key not in shown:
                parts += one.page(titles, _home(one, package))
        shown |= more.keys()
    parts += [_STORE, *_tables(), "", "## Errors\n", "| error | from | |", "| --- | --- | --- |"]
    rows = [f"| `{one.__name__}` | `{home}` | {one_line(one.__doc__)} |" for one, home in _errors(package)]
    return "\n".join([*parts, *rows, ""])


def _reached(roots: Mapping[Key, Definition]) -> dict[Key, Definition]:
    """Return definitions with all that they name, and what these name."""
    found = dict(roots)
    waiting = list(roots.values())
    for one in waiting:  # grows on the way
        new = {key: other for key, other in one.named.items() if key not in found}
        found |= new
        waiting += new.values()
    return found


def _handed_out() -> dict[Key, Definition]:
    """Return what is defined in the packages that plugins may call, and what their functions take and return."""
    found: dict[Key, Definition] = {}
    for package in _HANDING:
        home = import_module(f"{_ROOT}.{package}")
        for info in pkgutil.iter_modules(home.__path__, f"{home.__name__}."):
            found |= names_of_functions(info.name)
    return found


def _titles(definitions: Mapping[Key, Definition], package: ModuleType) -> dict[Key, str]:
    """Return what each is called: of several with one name, those that ``decodebench`` lacks with their module."""
    counts = Counter(name for _, name in definitions)
    return {
        key: key[1] if counts[key[1]] == 1 or _is_exported(one, package) else f"{key[0].rpartition('.')[2]}.{key[1]}"
        for key, one in definitions.items()
    }


def _is_exported(one: Definition, package: ModuleType) -> bool:
    return one.name in package.__all__ and getattr(package, one.name) is one.value


def _home(one: Definition, package: ModuleType) -> str:
    return package.__name__ if _is_exported(one, package) else one.module


def _errors(package: ModuleType) -> Iterator[tuple[type[Exception], str]]:
    """Yield every error of the public rooms, with where it is imported from."""
    rooms = [
        import_module(f"{room.__name__}.{info.name}")
        for room in (contract, records)
        for info in pkgutil.iter_modules(room.__path__)
    ]
    for module in (errors, *rooms):
        for name, kind in vars(module).items():
            if (
                isinstance(kind, type)
                and issubclass(kind, errors.DecodebenchError)
                and kind.__module__ == module.__name__
            ):
                yield kind, package.__name__ if name in package.__all__ else module.__name__


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
