"""The cache of prepared models: whole or absent, built once even when several ask at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from decodebench import ModelCache

BUILDER = """
import sys
from pathlib import Path
from decodebench import ModelCache

def build(folder):
    print("building", flush=True)
    sys.stdin.readline()
    (folder / "model").write_text("weights")

print("asking", flush=True)
print(ModelCache(Path(sys.argv[1])).entry("m", "key", build=build))
"""


def test_processes_that_ask_while_one_builds_wait_for_it(tmp_path):
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]

    def start():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "asking\n"
        return process

    first = start()
    assert first.stdout.readline() == "building\n"
    others = [start() for _ in range(2)]
    answer, _ = first.communicate("go on\n", timeout=60)
    assert Path(answer.strip(), "model").read_text() == "weights"
    assert [other.communicate(timeout=60)[0] for other in others] == [answer, answer]


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    cache = ModelCache(tmp_path)

    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        cache.entry("m", "key", build=fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    built = cache.entry("m", "key", build=lambda folder: (folder / "whole").write_text("y"))
    assert [path.name for path in built.iterdir()] == ["whole"]


def test_another_key_is_another_entry(tmp_path):
    cache = ModelCache(tmp_path)
    paths = {cache.entry("m", *key, build=lambda _: None) for key in [("a", "b"), ("ab",), ("a", "c")]}
    assert len(paths) == 3
