"""The engine's own programs, llama-bench and llama-server, built once from the source of llama-cpp-python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from decodebench import ModelCache, UsageError

_TOOLS = ("llama-bench", "llama-server")
_SWITCHES_OFF = ("LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_UI", "LLAMA_CURL", "LLAMA_OPENSSL")


def binaries() -> Path:
    """Return the folder of both programs for the installed llama-cpp-python, built now unless it is in the cache.

    Raises:
        UsageError: a build tool is missing, or the build fails; the text ends with the tool's own words.
    """
    for program in ("cmake", "c++"):
        if shutil.which(program) is None:
            raise UsageError(f"building llama-bench needs {program}: install it with the system's package manager")
    installed = version("llama-cpp-python")
    return ModelCache().entry("llama-tools", installed, "1", build=lambda folder: _build(folder, installed)) / "bin"


def _build(folder: Path, installed: str) -> None:
    print(f"building {', '.join(_TOOLS)} of llama-cpp-python {installed}, some ten minutes, once", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
    _call([*pip, f"llama-cpp-python=={installed}", "--dest", str(folder)])
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    (source,) = folder.glob("*/vendor/llama.cpp")
    build = folder / "build"
    switches = [f"-D{name}=OFF" for name in _SWITCHES_OFF] + ["-DLLAMA_BUILD_SERVER=ON", "-DGGML_NATIVE=ON"]
    _call(["cmake", "-S", str(source), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", *switches])
    _call(["cmake", "--build", str(build), "--target", *_TOOLS, "-j", str(os.cpu_count() or 1)])
    # Only what runs is kept: the tools with the libraries that they were linked to.
    shutil.copytree(build / "bin", folder / "bin", symlinks=True)
    shutil.rmtree(build)
    shutil.rmtree(source.parent.parent)


def _call(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise UsageError(f"`{' '.join(command[:4])} ...` failed:\n{(ended.stderr or ended.stdout)[-1500:]}")


def tokens_per_s(model: Path, *, prompt: int = 0, tokens: int, repetitions: int, threads: int) -> float:
    """Return the rate that llama-bench measures.

    Of a generation: ``tokens`` evaluations of one token from an empty cache. Of a ``prompt``, with ``tokens`` = 0, its
    evaluation. It runs with the shared libraries of the installed llama-cpp-python, so that the engine is the very same
    code.
    """
    folder = binaries()
    command = [str(folder / "llama-bench"), "-m", str(model), "-p", str(prompt), "-n", str(tokens)]
    command += ["-r", str(repetitions), "-t", str(threads), "-fa", "0", "-ngl", "0", "-o", "json"]
    package = find_spec("llama_cpp")
    assert package is not None and package.origin is not None
    libraries = f"{Path(package.origin).parent / 'lib'}:{folder}"
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode != 0:
        raise UsageError(f"llama-bench failed: {ended.stderr[-500:]}")
    (row,) = json.loads(ended.stdout)
    nanoseconds = row["samples_ns"]
    return float((prompt or tokens) * len(nanoseconds) / (sum(nanoseconds) / 1e9))
