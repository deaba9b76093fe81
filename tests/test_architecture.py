"""The layout keeps its promises: which room may import which, without exceptions, type-only imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("contract", "records", "host", "isolation", "measure", "sdk", "conformance", "api", "cli")
FLAT = {"flat", "defaults"}  # core's errors, cache and files, which every room may import

ALLOWED = {"records": FLAT, "contract": FLAT | {"records"}, "flat": {"defaults"}}
ALLOWED["host"] = ALLOWED["sdk"] = ALLOWED["contract"] | {"contract"}
ALLOWED["isolation"] = ALLOWED["host"] | {"host"}
ALLOWED["measure"] = ALLOWED["isolation"] | {"isolation", "sdk"}
ALLOWED["conformance"] = ALLOWED["measure"] | {"measure"}
ALLOWED["collate"] = ALLOWED["conformance"] | {"conformance"}
ALLOWED["viz"] = ALLOWED["contract"] | {"contract", "collate"}
ALLOWED["api"] = ALLOWED["collate"] | {"collate", "viz"}
ALLOWED["cli"] = ALLOWED["api"] | {"api"}
ALLOWED["plugins"] = {"package", "contract", "records", "sdk", "collate.speculation", "viz.drawing"}
ALLOWED["package"] = {"flat", "records", "contract", "api"}
ALLOWED["testing"] = {"conformance"}
ALLOWED["__main__"] = {"cli"}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    folders = ("core", "collate", "viz", "plugins")
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    named = {".".join(("decodebench", *file.relative_to(ROOT).with_suffix("").parts)): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


MODULES = modules()


def imported(name: str, file: Path) -> Iterator[str]:
    """Yield the modules of the package that a module imports, wherever in it."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source
                if found in MODULES:
                    yield found


def room_of(name: str) -> str:
    _, *parts = name.split(".")
    if not parts:
        return "package"
    if parts[0] == "core":
        return parts[1] if parts[1:] and parts[1] in ROOMS else "flat"
    if parts[:2] in (["collate", "speculation"], ["viz", "drawing"]):
        return ".".join(parts[:2])
    return parts[0]


def may_import(importer: str, room: str) -> bool:
    """A room may import itself and what the list says; a public part of a room is a part of that room too."""
    whole = importer.partition(".")[0]
    wanted = {room, room.partition(".")[0]} if importer != "plugins" else {room}
    return importer == room or whole == room.partition(".")[0] or bool(wanted & ALLOWED[whole])


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_what_the_list_allows(room):
    own = {name: file for name, file in MODULES.items() if room_of(name).partition(".")[0] == room}
    assert own
    wrong = [
        f"{name} imports {found}"
        for name, file in own.items()
        for found in imported(name, file)
        if not may_import(room_of(name), room_of(found))
    ]
    assert not wrong


def test_the_only_plugins_that_a_plugin_imports_are_itself():
    wrong = [
        f"{name} imports {found}"
        for name, file in MODULES.items()
        for found in imported(name, file)
        if room_of(name) == room_of(found) == "plugins" and name.split(".")[2:3] != found.split(".")[2:3]
    ]
    assert not wrong


def test_collate_is_handed_the_host_and_makes_none():
    """``Registry`` stands there in annotations only."""
    for name, file in MODULES.items():
        if room_of(name).partition(".")[0] == "collate":
            code = file.read_text(encoding="utf-8").replace("registry: Registry", "")
            assert "Registry(" not in code and "all_plugins" not in code, name


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: set(imported(name, file)) - {name} for name, file in MODULES.items()}
    del graph["decodebench"]  # whose names are imported when they are asked for
    graph = {name: found - {"decodebench"} for name, found in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_room_of_core_can_be_taken_in_at_a_glance():
    core = ROOT / "core"
    assert len([file for file in core.glob("*.py") if file.name != "__init__.py"]) <= 4
    for folder in {file.parent for file in core.rglob("*.py")} - {core}:
        found = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(found) <= 20, f"{folder.name}: {len(found)} modules"
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_no_file_and_no_function_is_too_long_to_read():
    """Generated code and TVM's script, whose functions are parsed and not run, are left out."""
    written = {name: file for name, file in MODULES.items() if not file.stem.endswith(("_pb2", "_pb2_grpc"))}
    longest = [f"{name}: {count} lines" for name, file in written.items() if (count := lines_in(file)) > 350]
    assert not longest
    script = ROOT / "plugins" / "mlc" / "relax"
    functions = [
        f"{name}.{node.name}"
        for name, file in written.items()
        if not file.is_relative_to(script)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not functions


def lines_in(file: Path) -> int:
    return file.read_text(encoding="utf-8").count("\n")
