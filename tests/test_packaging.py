"""The wheel holds what the tree holds, and the layout keeps its promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "plugins", "collate", "viz")


def shipped() -> set[str]:
    """Every file of the tree that belongs to the package, as the wheel names it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout.splitlines()
    top = {"__init__.py", "__main__.py", "defaults.py", "py.typed", "testing.py"}
    return {f"decodebench/{name}" for name in listed if name in top or name.split("/")[0] in PACKAGES}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the package's sources: a build writes into the folder that it builds."""
    folder = tmp_path_factory.mktemp("source")
    for name in [*shipped(), "decodebench/pyproject.toml", "decodebench/README.md", "decodebench/LICENSE"]:
        relative = Path(name).relative_to("decodebench")
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / relative, folder / relative)
    return folder


def test_the_wheel_forgets_no_file(source, tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (wheel,) = tmp_path.glob("*.whl")
    content = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert content == shipped()


def test_the_host_names_no_backend():
    """``llama-cpp-python``, which quantises GGUF files, and the package transformers are libraries too."""
    library = r"(?<!find_spec\()(?<!version\()"
    named = rf"llama-cpp(?!-python)|{library}[\"']transformers[\"']|tinygrad[\"']|dflash|fast[-_]dllm"
    names = re.compile(named, re.IGNORECASE)
    for folder in ("core", "collate", "viz"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            code = re.sub(r'""".*?"""|#.*', "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
            if file.parent.name != "serving":  # logs of one engine's tools name it
                code = re.sub(r'"decodebench [^"]*"', "", code)  # examples in the help
            else:
                code = code.replace('"llama-cpp"', "")
            assert not names.search(code), f"{file}: {names.search(code)}"
