"""The cache of prepared models: whole or absent, built once even when several ask at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from decodebench import ModelCache

BUILDER = """
import sys, time
from pathlib import Path
from decodebench import ModelCache

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "model").write_text("weights")

print(ModelCache(Path(sys.argv[1])).entry("m", "key", build=build))
"""


def test_two_processes_that_ask_at_once_build_once(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "cache"), str(log)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert len(answers) == 1
    assert log.read_text() == "built\n"


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
