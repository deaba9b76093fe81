"""Virtual environments of plugins whose engines must not share one with the host, made and removed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from ..contract.hookspecs import PROJECT
from ..errors import PluginError, UsageError
from ..host.user_files import data_folder
from . import assignments as interpreters
from .installers import Command, Specs, install_command, normalised
from .interpreter import Interpreter
from .worker_part import placeholder, use_own_code

Run = Callable[[Command], int]

_EXTRAS = re.compile(r"[^\s\[\]]\[([\w ,.-]+)\]")


def folder_of(name: str) -> Path:
    """Return where the environment called ``name`` lies."""
    return data_folder() / "environments" / name


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def commands(name: str, specs: Specs, base: str | None) -> list[Command]:
    """Return what ``create`` runs first: the environment, unless it is there, then the plugin without what it requires.

    Args:
        name: of the environment.
        specs: the plugin.
        base: the interpreter that the environment is made from; None: the host's.
    """
    folder = folder_of(name)
    make = [base or sys.executable, "-m", "venv", "--without-pip", str(folder)]
    install = install_command(specs, str(python_in(folder)), is_alone=True)
    return [install] if python_in(folder).exists() else [make, install]


def create(name: str, specs: Specs, base: str | None, run: Run) -> Sequence[dict[str, Any]]:
    """Make an environment as ``make`` does, and remember its backends: from now on they run in it.

    Args, returns, raises: as ``make``.
    """
    plugins = make(name, specs, base, run)
    interpreters.forget(python_in(folder_of(name)))
    interpreters.record(backends_of(plugins), python_in(folder_of(name)))
    return plugins


def backends_of(plugins: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of all backends that plugins provide, as they list them."""
    return [one for plugin in plugins for one in plugin["provides"].get("decodebench_backends", ())]


def make(name: str, specs: Specs, base: str | None, run: Run) -> Sequence[dict[str, Any]]:
    """Make an environment and install a plugin and what its workers need.

    The plugin comes first, by itself, then what it requires: it may ask for decodebench by the place of a checkout, and
    no installer takes the placeholder for that.

    Args:
        name: of the environment.
        specs: the plugin.
        base: the interpreter that the environment is made from; None: the host's.
        run: runs a command and returns its exit code.

    Returns:
        The plugins that are in it, as ``decodebench plugins list --json`` has them.

    Raises:
        UsageError: a command failed, or no backend is in it; what was made is removed.
    """
    folder = folder_of(name)
    is_new = not folder.exists()
    try:
        with tempfile.TemporaryDirectory(prefix="decodebench-") as scratch:
            wheel = str(placeholder(Path(scratch)))
            for command in commands(name, Specs((wheel, *specs.plain), specs.editable), base):
                _check(run(command), command, name)
            command = install_command(Specs(tuple(_needs(folder, wheel, _extras(specs)))), str(python_in(folder)))
            _check(run(command), command, name)
        plugins: list[dict[str, Any]] = _ask(python_in(folder))
        if not backends_of(plugins):
            reasons = "; ".join(f"{plugin['name']}: {plugin['reason']}" for plugin in plugins if plugin["reason"])
            because = f" ({reasons})" if reasons else ""
            raise UsageError(f"what was installed for {name!r} provides no backend{because}", code="install-failed")
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return plugins


def _check(code: int, command: Command, name: str) -> None:
    if code != 0:
        raise UsageError(f"{command[0]} failed; no environment for {name!r} was made", code="install-failed")


def _extras(specs: Specs) -> set[str]:
    """Return the extras that are asked for, as in ``name[extra]`` and ``./folder[extra]``."""
    found = map(_EXTRAS.search, (*specs.plain, *specs.editable))
    return {extra.strip() for one in found if one for extra in one[1].split(",")}


def _needs(folder: Path, wheel: str, extras: Collection[str]) -> Iterator[str]:
    """Yield what everything in an environment requires; for decodebench the placeholder, with all extras of it.

    Args:
        folder: of the environment.
        wheel: the placeholder.
        extras: of what was asked for.
    """
    own: set[str] = set()
    versions = _versions(folder)
    for one in distributions(path=[str(path) for path in folder.glob("lib/python*/site-packages")]):
        wanted = ["", *extras] if one.read_text("REQUESTED") is not None else [""]
        for needed in map(Requirement, one.requires or ()):
            if needed.marker and not any(needed.marker.evaluate({**versions, "extra": extra}) for extra in wanted):
                continue
            if normalised(needed.name) == PROJECT:
                own |= needed.extras
            elif normalised(str(one.metadata["Name"])) != PROJECT:
                needed.marker = None
                yield str(needed)
    yield f"{wheel}[{','.join(sorted(own))}]" if own else wheel


def _versions(folder: Path) -> dict[str, str]:
    """Return the version of an environment's Python, as markers of requirements name it."""
    lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    (full,) = (line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "version")
    return {"python_full_version": full, "python_version": ".".join(full.split(".")[:2])}


def make_of_host(name: str, spec: str, run: Run) -> None:
    """Make an environment with decodebench itself in another version, which shares the host's other packages.

    Its workers run the code that is installed there.

    Args:
        name: of the environment.
        spec: decodebench, as pip takes it.
        run: runs a command and returns its exit code.

    Raises:
        UsageError: a command failed, or that version needs other packages than the host has; what was made is removed.
    """
    folder = folder_of(name)
    python = python_in(folder)
    try:
        for command in (
            [sys.executable, "-m", "venv", "--without-pip", str(folder)],
            install_command(Specs((spec,)), str(python), is_alone=True),
        ):
            if run(command) != 0:
                raise UsageError(f"{command[0]} failed; no environment for {spec} was made", code="install-failed")
        (own,) = folder.glob("lib/python*/site-packages")
        shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (own / "host.pth").write_text("".join(f"{path}\n" for path in shared), encoding="utf-8")
        _check_needs(own, spec)
        use_own_code(python)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_needs(site: Path, spec: str) -> None:
    """Refuse a version that needs packages which the host does not have."""
    (made,) = distributions(name=PROJECT, path=[str(site)])
    for text in made.requires or ():
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            has = version(need.name)
        except PackageNotFoundError:
            has = None
        if has is None or not need.specifier.contains(has, prereleases=True):
            raise UsageError(
                f"{spec} needs {text}, and here is {has or 'none'}: install that, or compare otherwise",
                code="package-missing",
            )


def _ask(python: Path) -> list[dict[str, Any]]:
    interpreter = Interpreter(python)
    try:
        found: list[dict[str, Any]] = interpreter.ask("plugins")
        return found
    except PluginError as error:
        raise UsageError(str(error), code=error.code) from error
    finally:
        interpreter.close()


def is_ours(python: Path) -> bool:
    """Whether ``create`` made the environment of an interpreter."""
    return python.parent.parent.parent == data_folder() / "environments"


def remove(python: Path) -> None:
    """Delete an environment that ``create`` made, and forget its backends."""
    interpreters.forget(python)
    shutil.rmtree(python.parent.parent)


def check_base(base: str) -> str:
    """Return the full path of the interpreter that an environment is to be made from.

    Raises:
        UsageError: it is not there, or it is no Python that can.
    """
    found = shutil.which(base)
    if found is None:
        raise UsageError(f"--python {base}: no such program", code="bad-value")
    code = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    ended = subprocess.run([found, "-c", code], capture_output=True, check=False)
    if ended.returncode != 0:
        raise UsageError(f"--python {base}: must be Python 3.11 or later with the module venv", code="bad-value")
    return found
