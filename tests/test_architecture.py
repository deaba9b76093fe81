"""The layout keeps its promises: which room may import which, without exceptions, type-only imports included."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
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
ALLOWED["package"] = {"flat", "records", "contract", "api"}
ALLOWED["testing"] = {"conformance"}
ALLOWED["__main__"] = {"cli"}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    folders = ("core", "collate", "viz", "plugins")
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    named = {".".join(("decodebench", *file.relative_to(ROOT).with_suffix("").parts)): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


MODULES = modules()


@cache
def nodes_of(file: Path) -> Sequence[ast.AST]:
    return list(ast.walk(parsed(file)))


@cache
def imported(name: str, file: Path) -> Sequence[str]:
    """Return the modules of the package that a module imports, wherever in it."""
    return list(imports_in(name, file))


def imports_in(name: str, file: Path) -> Iterator[str]:
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in nodes_of(file):
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


def promised() -> set[str]:
    """The rooms that docs/promise.md lets plugins import from."""
    page = (ROOT / "docs" / "promise.md").read_text(encoding="utf-8")
    names = re.findall(r"^  \| `(decodebench[\w.]*?)(?:\.\*)?` \|", page, re.MULTILINE)
    return {room_of(name) for name in names}


ALLOWED["plugins"] = promised()


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


def rooms_and_their_parts() -> dict[str, Path]:
    """The packages of core, collate and viz, and that of the plugins."""
    packages = {name: file for name, file in MODULES.items() if file.name == "__init__.py"}
    within = ("decodebench.core.", "decodebench.collate.", "decodebench.viz.")
    tops = {"decodebench.collate", "decodebench.viz", "decodebench.plugins"}
    return {name: file for name, file in packages.items() if name in tops or name.startswith(within)}


def neighbour(package: str, module: str) -> str | None:
    """What a package's docstring calls a module: by its room, or by its package where both are in one room.

    None for one of its own, and for what every room may import.
    """
    room, own = room_of(module), room_of(package).partition(".")[0]
    if (module + ".").startswith(package + ".") or room in FLAT:
        return None
    if room.partition(".")[0] != own:
        return "decodebench" if room == "package" else room
    home = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return home.removeprefix("decodebench.").removeprefix("core.")


def neighbours(package: str) -> str:
    """Return the line that a package's docstring ends with: what its modules import, and what imports them."""
    imports, importers = set(), set()
    for name, file in MODULES.items():
        for found in imported(name, file):
            if (name + ".").startswith(package + "."):
                imports.add(neighbour(package, found))
            if (found + ".").startswith(package + "."):
                importers.add(neighbour(package, name))
    shown = (", ".join(sorted(filter(None, names))) or "nothing" for names in (imports, importers))
    return "Imports: {}. Imported by: {}.".format(*shown)


@pytest.mark.parametrize("package", sorted(rooms_and_their_parts()))
def test_a_room_says_what_it_imports_and_what_imports_it(package):
    """Errors, cache, files and defaults, which every room may import, are left out."""
    said = " ".join((ast.get_docstring(parsed(rooms_and_their_parts()[package])) or "").split())
    assert said.endswith(neighbours(package)), f"should end with: {neighbours(package)}"


def test_plugins_may_import_what_the_promise_lists():
    rooms = {"package", "testing", "contract", "records", "sdk", "collate.speculation", "viz.drawing"}
    assert ALLOWED["plugins"] == rooms


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
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_folder_of_core_is_a_room_of_the_list():
    """One that is not would count as flat, which every room may import."""
    assert {file.parent.name for file in (ROOT / "core").glob("*/__init__.py")} == set(ROOMS)


def test_every_room_of_core_can_be_taken_in_at_a_glance():
    core = ROOT / "core"
    assert len([file for file in core.glob("*.py") if file.name != "__init__.py"]) <= 4
    for folder in {file.parent for file in core.rglob("*.py")} - {core}:
        found = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(found) <= 20, f"{folder.name}: {len(found)} modules"
        assert ast.get_docstring(parsed(folder / "__init__.py")), folder


def test_no_file_and_no_function_is_too_long_to_read():
    """Generated code and TVM's script, whose functions are parsed and not run, are left out."""
    written = {name: file for name, file in MODULES.items() if not file.stem.endswith(("_pb2", "_pb2_grpc"))}
    longest = [f"{name}: {count} lines" for name, file in written.items() if (count := lines_in(file)) >= 350]
    assert not longest
    script = ROOT / "plugins" / "mlc" / "relax"
    functions = [
        f"{name}.{node.name}"
        for name, file in written.items()
        if not file.is_relative_to(script)
        for node in nodes_of(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not functions


def lines_in(file: Path) -> int:
    return file.read_text(encoding="utf-8").count("\n")


ORDINARY = {"api", "args", "draft", "factor", "verify"}
"""Names of options that are words of the host's own as well: keys of its JSON, labels, fields of other classes."""
HOST = [
    file
    for file in MODULES.values()
    if file.is_relative_to(ROOT / "core") or file.is_relative_to(ROOT / "collate") or file.is_relative_to(ROOT / "viz")
    if not str(file.relative_to(ROOT)).startswith(("core/contract", "collate/parsers", "collate/exporters"))
]
"""Modules of the host, but for the contract and those that spell the formats of other programs."""


def declared_in(*rooms: str) -> set[str]:
    """The names of fields, parameters and methods in rooms of core, and what stands alone in a string there."""
    found = set()
    for file in (file for room in rooms for file in (ROOT / "core" / room).rglob("*.py")):
        for node in nodes_of(file):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.FunctionDef):
                found |= {node.name, *(one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg))}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def options_of_backends() -> set[str]:
    """The names of all options of built-in backends."""
    return {
        field.target.id
        for file in (ROOT / "plugins").rglob("*.py")
        for node in nodes_of(file)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Options") for base in node.bases)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id[0] != "_"
    }


@cache
def strings_in(file: Path) -> Sequence[str]:
    """The strings of a module that are no documentation."""
    nodes = nodes_of(file)
    statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in statements]
    return [node.value for node in constants if isinstance(node.value, str)]


def names_in(text: str) -> set[str]:
    """The words of a string that can be names of options: alone, in quotes as in JSON and SQL, or of several parts."""
    quoted = re.findall(r"""["'](\w+)["']""", text)
    return {text, *quoted, *(word for word in re.findall(r"\w+", text) if "_" in word)}


def test_the_host_knows_no_option_of_one_decoder_by_name():
    """What it must know of an option a backend declares, such as ``threads_option`` and ``block_size_option``."""
    options = options_of_backends()
    assert {"num_draft_tokens", "scheduler", "block_length"} <= options
    foreign = options - declared_in("contract", "records") - ORDINARY
    known = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in HOST
        for text in strings_in(file)
        for name in names_in(text) & foreign
    ]
    assert not known


def test_the_host_knows_no_plugin_by_name():
    """But words of its own: a way to store a model, a library of the SDK, a table of the config file."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    plugins = {name for name, module in points["decodebench"].items() if ".plugins." in module}
    foreign = plugins - {"mlc", "reference", "servers", "tasks", "transformers"}  # words of the host's own
    assert "dflash" in foreign
    known = [f"{file.relative_to(ROOT)}: {text}" for file in HOST for text in strings_in(file) if text in foreign]
    assert not known


@pytest.mark.parametrize("column", ["trace", "engine"])
def test_the_host_reads_nothing_that_decoders_record_under_names_of_their_own(column):
    """``engine_counters.py`` has the names that the contract has; the rest is for readers of one decoder's records."""
    wrong = [
        file.name
        for folder in ("core", "collate", "viz")
        for file in (ROOT / folder).rglob("*.py")
        if file.name != "engine_counters.py" and re.search(rf"\b{column}->", file.read_text(encoding="utf-8"))
    ]
    assert not wrong
