"""``plugins new``: write a package to start from."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

import click

from ...api.plugins import installed_plugins
from ...errors import UsageError
from ...files import whole_folder
from ...host.provenance import own_requirement
from ..guidance.sections import examples
from ..output import CONTEXT, echo, json_option, print_json
from .kinds import KINDS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATES = Path(__file__).parent / "template"


@click.command(context_settings=CONTEXT, epilog=examples("decodebench plugins new my-engine --kind server"))
@click.argument("name", help="Name of the plugin, e.g. my-engine.")
@click.option("--kind", type=click.Choice(list(KINDS)), default="backend", help="Template.")
@json_option
def new(name: str, kind: str, as_json: bool) -> None:
    """Create a plugin from a template: a complete package with tests.

    It is written to a new folder NAME.
    """
    module = name.replace("-", "_")
    _check_name(name, module)
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists already and is not empty: choose another name, or another folder to run in",
            code="path-taken",
        )
    files = package_files(name, module, kind)
    try:
        with whole_folder(folder) as scratch:
            for path, text in files.items():
                (scratch / path).parent.mkdir(parents=True, exist_ok=True)
                (scratch / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {folder.absolute()}: {error.strerror}", code="write-failed") from error
    if as_json:
        print_json({"folder": str(folder.absolute()), "files": list(files)})
        return
    for path in files:
        echo(folder / path)
    echo(f"next: cd {name} && pip install -e '.[test]' && pytest")


def _check_name(name: str, module: str) -> None:
    """Refuse a name that could not be a distribution's, a module's and a backend's."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r} must be words of a-z and 0-9 joined by '-', starting with a letter", code="bad-value"
        )
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise UsageError(
            f"name {name!r}: {module!r} is a keyword or a standard module of Python; choose another", code="bad-value"
        )
    for known in installed_plugins().plugins:
        if any(name in names for names in known.provides.values()):
            raise UsageError(
                f"name {name!r}: plugin {known.name!r} provides something of this name; choose another",
                code="bad-value",
            )
    found = importlib.util.find_spec(module)
    if found is not None and found.origin is not None:  # a mere folder of that name is no module
        raise UsageError(f"name {name!r}: a module {module!r} is installed already; choose another", code="bad-value")


def package_files(name: str, module: str, kind: str) -> dict[str, str]:
    """Return every file of a package, by its path.

    Args:
        name: of the distribution, the plugin and what it provides.
        module: of its code.
        kind: one of ``KINDS``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    described = KINDS[kind]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    facts = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "kind": kind,
        "described": described,
        "own_requirement": own_requirement,
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        ".github/workflows/test.yml": "workflow.yml",
        f"src/{module}/__init__.py": "plugin.py",
        f"src/{module}/{described.part}.py": f"{kind}.py",
        f"tests/test_{module}.py": f"{described.part}_tests.py",
    }
    made = {path: environment.get_template(f"{source}.j2").render(facts) for path, source in templates.items()}
    return made | {f"src/{module}/py.typed": ""}
