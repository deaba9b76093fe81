"""Whether tinygrad can be expected to work here, told without importing it."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ...core.contract.requirements import Availability

_MODEL = "tinygrad.llm.model"
_GPUS = ("/dev/nvidiactl", "/dev/kfd")
"""Device nodes of NVIDIA's and AMD's drivers: with a GPU tinygrad does without a C compiler."""


def with_parts(installed: Availability, fix: str) -> Availability:
    """Look at files beyond package metadata: what tinygrad's language model imports, and the C compiler.

    Args:
        installed: what the metadata says.
        fix: the command that installs tinygrad.
    """
    if not installed.available:
        return installed
    spec = find_spec("tinygrad")
    if spec is None or spec.origin is None:
        return replace(installed, available=False, reason="the package tinygrad cannot be found", fix=fix)
    missing = next(_missing(Path(spec.origin).parent), None)
    if missing is not None:
        why = f"tinygrad {installed.version} lacks {missing}, without which its language model cannot be imported"
        return replace(installed, available=False, reason=why, fix=fix)
    if not has_compiler() and not _has_gpu():
        why = f"tinygrad compiles CPU kernels with {compiler()!r}, which is not on the PATH"
        return replace(installed, available=False, reason=why, fix=compiler_fix())
    return installed


def _missing(package: Path) -> Iterator[str]:
    """Yield the modules that the language model needs and the installed wheel does not hold."""
    source = package.parent.joinpath(*_MODEL.split(".")).with_suffix(".py")
    if not source.is_file():
        yield _MODEL
        return
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tinygrad."):
            path = package.parent.joinpath(*node.module.split("."))
            if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
                yield node.module


def compiler() -> str:
    """Return the command with which tinygrad compiles for the CPU."""
    return os.environ.get("CC", "clang")


def has_compiler() -> bool:
    """Whether that command is on the PATH."""
    return shutil.which(compiler()) is not None


def compiler_fix() -> str:
    """Return the command that installs clang on this system."""
    if sys.platform == "darwin":
        return "xcode-select --install  # or: brew install llvm"
    return "apt-get install clang"


def _has_gpu() -> bool:
    return sys.platform == "darwin" or any(Path(node).exists() for node in _GPUS)
