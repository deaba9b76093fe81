"""What installs packages into an environment: pip or uv. Environments of pipx and ``uv tool`` are left to them."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..contract.hookspecs import PROJECT
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


def install_command(specs: Specs, python: str | None = None, *, is_alone: bool = False) -> Command:
    """Return the command that installs into the environment of an interpreter.

    Args:
        specs: what to install.
        python: the interpreter; None: the one that decodebench runs in.
        is_alone: whether what they require is left out.

    Raises:
        UsageError: nothing may, or nothing can; says what to do.
    """
    if python is None:
        inject = ["pipx", "inject", Path(sys.prefix).name]
        plain = [[*inject, "--", *specs.plain]] if specs.plain else []
        editable = [[*inject, "--editable", *specs.editable]] if specs.editable else []
        added = [*_each("--with", specs.plain), *_each("--with-editable", specs.editable)]
        _check_ownership([*plain, *editable], added)
    flags = [*(["--no-deps"] if is_alone else []), *_each("--editable", specs.editable)]
    # What follows "--" is no option of the installer, whatever it begins with.
    return [*_start("install", python or sys.executable), *flags, *(["--", *specs.plain] if specs.plain else [])]


def uninstall_command(distribution: str) -> Command:
    """Return the command that removes a distribution from the environment that decodebench runs in.

    Raises:
        UsageError: nothing may, or nothing can; says what to do.
    """
    _check_ownership([["pipx", "uninject", Path(sys.prefix).name, "--", distribution]], [])
    return [*_start("uninstall", sys.executable), "--", distribution]


def _start(action: str, python: str) -> Command:
    if find_spec("pip") is not None:
        elsewhere = ["--python", python] if python != sys.executable else []
        confirmed = ["--yes"] if action == "uninstall" else []
        return [sys.executable, "-m", "pip", *elsewhere, "--disable-pip-version-check", action, *confirmed]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", action, "--python", python]
    raise UsageError(
        f"neither pip nor uv is installed: run `{sys.executable} -m ensurepip`, or install uv",
        code="package-missing",
    )


def _check_ownership(pipx: Sequence[Command], added: Sequence[str]) -> None:
    """Refuse to change an environment that belongs to another program, with what to run instead.

    Args:
        pipx: its commands that do it.
        added: what to add to the command with which ``uv tool`` makes its environment from scratch.
    """
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        commands = " && ".join(map(shlex.join, pipx))
        raise UsageError(
            f"pipx made the environment {prefix} and keeps a record of it; run\n{commands}", code="install-failed"
        )
    if (prefix / "uv-receipt.toml").is_file():
        command = shlex.join(["uv", "tool", "install", PROJECT, *added])
        raise UsageError(
            f"`uv tool` made the environment {prefix} and makes it from scratch; run, with the extras and plugins to "
            f"keep that `uv tool list --show-extras --show-with` lists,\n{command}",
            code="install-failed",
        )
    is_bare = sys.prefix == sys.base_prefix
    if is_bare and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file():
        raise UsageError(
            f"{sys.executable} belongs to the system's package manager, which does not allow installs into it: install "
            "decodebench with pipx, with `uv tool install` or into a virtual environment, or use --isolated",
            code="install-failed",
        )


def normalised(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _each(flag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield flag
        yield value
