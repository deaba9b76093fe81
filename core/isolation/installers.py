"""What installs packages into an environment: pip, uv, pipx or uv tool, whichever made it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import sysconfig
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError

Command = list[str]


@dataclass(frozen=True, slots=True)
class Specs:
    """What to install.

    Attributes:
        plain: as pip takes them: names with versions, paths, addresses.
        editable: folders to install so that changes of their files count at once.
    """

    plain: tuple[str, ...] = ()
    editable: tuple[str, ...] = ()


class Installer(ABC):
    """Builds the commands; runs none."""

    @abstractmethod
    def install(self, specs: Specs) -> Command:
        """Return the command that installs."""

    @abstractmethod
    def uninstall(self, distribution: str) -> Command:
        """Return the command that removes."""


@dataclass(frozen=True, slots=True)
class Pip(Installer):
    """pip, started by an interpreter that has it, for the environment of ``python``."""

    python: str
    runner: str

    def install(self, specs: Specs) -> Command:
        """Return ``pip install``."""
        return [*self._start, "install", *specs.plain, *_each("--editable", specs.editable)]

    def uninstall(self, distribution: str) -> Command:
        """Return ``pip uninstall``."""
        return [*self._start, "uninstall", "--yes", distribution]

    @property
    def _start(self) -> Command:
        elsewhere = ["--python", self.python] if self.python != self.runner else []
        return [self.runner, "-m", "pip", *elsewhere, "--disable-pip-version-check"]


@dataclass(frozen=True, slots=True)
class UvPip(Installer):
    """``uv pip``, for environments without pip."""

    uv: str
    python: str

    def install(self, specs: Specs) -> Command:
        """Return ``uv pip install``."""
        return [self.uv, "pip", "install", "--python", self.python, *specs.plain, *_each("-e", specs.editable)]

    def uninstall(self, distribution: str) -> Command:
        """Return ``uv pip uninstall``."""
        return [self.uv, "pip", "uninstall", "--python", self.python, distribution]


@dataclass(frozen=True, slots=True)
class Pipx(Installer):
    """pipx, which adds to an application's environment by ``inject``."""

    pipx: str
    application: str

    def install(self, specs: Specs) -> Command:
        """Return ``pipx inject``."""
        if specs.editable and specs.plain:
            raise UsageError(
                "pipx injects either editable folders or others at a time: install them one after the other"
            )
        flag = ["--editable"] if specs.editable else []
        return [self.pipx, "inject", *flag, self.application, *specs.plain, *specs.editable]

    def uninstall(self, distribution: str) -> Command:
        """Return ``pipx uninject``."""
        return [self.pipx, "uninject", self.application, distribution]


@dataclass(frozen=True, slots=True)
class UvTool(Installer):
    """``uv tool``, which makes a tool's environment anew from all that belongs into it.

    Attributes:
        receipt: the requirements that uv has recorded, the tool's own first.
    """

    uv: str
    receipt: Sequence[Mapping[str, Any]]

    def install(self, specs: Specs) -> Command:
        """Return ``uv tool install`` with what was there before and what comes."""
        more = [*_each("--with", specs.plain), *_each("--with-editable", specs.editable)]
        return [*self._with(self.receipt), *more]

    def uninstall(self, distribution: str) -> Command:
        """Return ``uv tool install`` with what was there before but this."""
        own, *others = self.receipt
        return self._with([own, *(entry for entry in others if normalised(entry["name"]) != normalised(distribution))])

    def _with(self, entries: Sequence[Mapping[str, Any]]) -> Command:
        own, *others = entries
        editable = ["--editable"] if "editable" in own else []
        command = [self.uv, "tool", "install", *editable, _requirement(own)]
        for entry in others:
            command += ["--with-editable" if "editable" in entry else "--with", _requirement(entry)]
        return command


def installer_for(python: str | None = None) -> Installer:
    """Find what installs into the environment of an interpreter.

    Args:
        python: the interpreter; None: the one that decodebench runs in.

    Raises:
        UsageError: nothing may, or nothing can; says what to do.
    """
    if python is None:
        prefix = Path(sys.prefix)
        if (prefix / "uv-receipt.toml").is_file():
            return UvTool(_program("uv", "`uv tool install`"), _receipt(prefix / "uv-receipt.toml"))
        if (prefix / "pipx_metadata.json").is_file():
            return Pipx(_program("pipx", "pipx"), _application(prefix))
        _refuse_managed()
    target = python or sys.executable
    if importlib.util.find_spec("pip") is not None:
        return Pip(target, sys.executable)
    uv = shutil.which("uv")
    if uv is not None:
        return UvPip(uv, target)
    raise UsageError(f"neither pip nor uv is there to install with: run `{sys.executable} -m ensurepip`, or install uv")


def _refuse_managed() -> None:
    is_bare = sys.prefix == sys.base_prefix
    if is_bare and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file():
        raise UsageError(
            f"{sys.executable} belongs to the system's package manager, which allows no installs into it: install "
            "decodebench with pipx, with `uv tool install` or into a virtual environment, or use --isolated"
        )


def _program(name: str, made_by: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UsageError(
            f"{sys.prefix} was made by {made_by}, but {name} is not on the PATH: put it there and try again"
        )
    return found


def _receipt(file: Path) -> Sequence[Mapping[str, Any]]:
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["requirements"]
        return [entry if isinstance(entry, dict) else {"name": str(entry)} for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: uv's record of the environment cannot be read: {error}") from error


def _application(prefix: Path) -> str:
    """Return pipx's name of an environment; it may carry a suffix."""
    try:
        content = json.loads((prefix / "pipx_metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return prefix.name
    main = content.get("main_package", {})
    return f"{main.get('package') or prefix.name}{main.get('suffix') or ''}"


def _requirement(entry: Mapping[str, Any]) -> str:
    """Turn an entry of uv's record into what its command line takes."""
    for key in ("editable", "directory", "path"):
        if key in entry:
            return str(entry[key])
    extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
    source = next((f" @ {prefix}{entry[key]}" for key, prefix in (("url", ""), ("git", "git+")) if key in entry), "")
    return f"{entry['name']}{extras}{source or entry.get('specifier', '')}"


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _each(flag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield flag
        yield value
