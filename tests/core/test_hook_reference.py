"""docs/hooks.md leads to every class that a plugin gives or gets, each under an anchor of its own."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.util import resolve_name

import decodebench
from decodebench.core.contract import hookspecs
from decodebench.core.host.hook_reference import markdown


@cache
def names_in(module):
    """What a module's names mean to a type checker: its own, and those that it imports for annotations only."""
    loaded = import_module(module)
    names = dict(vars(loaded))
    for node in ast.walk(ast.parse(inspect.getsource(loaded))):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = import_module(resolve_name("." * node.level + (node.module or ""), loaded.__package__))
            names |= {alias.asname or alias.name: getattr(home, alias.name, None) for alias in node.names}
    return names


def annotations_of(value):
    yield from value.__dict__.get("__annotations__", {}).values()
    for name, member in vars(value).items():
        function = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
        if inspect.isfunction(function) and not name.startswith("_"):
            yield from function.__annotations__.values()


def classes_named(module, text):
    for word in re.findall(r"[A-Za-z_]\w*", str(text)):
        found = names_in(module).get(word)
        if isinstance(found, type) and found.__module__.startswith("decodebench.") and not word.startswith("_"):
            yield found


def reachable():
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("decodebench_")]
    found = [one for hook in hooks for one in classes_named(hookspecs.__name__, hook.__annotations__["return"])]
    for one in found:
        found += [
            other for text in annotations_of(one) for other in classes_named(one.__module__, text) if other not in found
        ]
    return found


def test_every_class_that_a_hook_leads_to_has_its_fields_on_the_page():
    page = markdown(decodebench)
    found = reachable()
    assert len(found) > 50
    missing = [
        one.__qualname__
        for one in found
        if f"`from {one.__module__} import {one.__name__}`" not in page
        and not (
            getattr(decodebench, one.__name__, None) is one and f"`from decodebench import {one.__name__}`" in page
        )
    ]
    assert not missing


def test_what_a_log_check_yields_leads_to_the_rows_of_a_finding():
    page = markdown(decodebench)
    doubt = page.partition("\n### Doubt\n")[2].partition("\n### ")[0]
    assert "[finding.Place](#findingplace)" in doubt
    assert "| `run_id` | `str`" in page.partition("\n### finding.Place\n")[2].partition("\n### ")[0]
    assert "| `backends` |" in page.partition("\n### Place\n")[2].partition("\n### ")[0]


def test_every_heading_has_an_anchor_of_its_own_and_every_link_one_of_them():
    page = markdown(decodebench)
    headings = re.findall(r"^##+ (.+)$", page, re.MULTILINE)
    anchors = Counter(re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings)
    assert set(anchors.values()) == {1}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(anchors)


def test_what_an_analysis_gets_and_the_drawing_helpers_return_is_on_the_page():
    page = markdown(decodebench)
    for name in ("Speculation", "SpeculationCell", "Pair", "Observed", "Cycle", "CellLabel", "Interval", "Panels"):
        assert f"\n### {name}\n" in page


def test_the_errors_of_promised_functions_are_in_the_table():
    errors = markdown(decodebench).partition("\n## Errors\n")[2]
    for name in ("UsageError", "RawLogError", "StoreTroubleError", "OutdatedStoreError"):
        assert f"\n| `{name}` |" in errors
