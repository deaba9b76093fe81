"""The cache of prepared models: whole or absent, built once even when several ask at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decodebench import ModelCache
from decodebench.core.cache import CHECKSUMS, entries, sweep

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


def left(root):
    """Return what the cache holds besides entries and locks."""
    return [path.name for path in root.iterdir() if not path.name.startswith("m-") and path.suffix != ".lock"]


def built(cache, label="m"):
    """Return the entry, and whether it was made now."""
    made = []

    def build(folder):
        made.append(folder)
        (folder / "weights").write_bytes(bytes(range(256)) * 64)
        (folder / "part").mkdir()
        (folder / "part" / "facts").write_text("{}")

    return cache.entry(label, "key", build=build), bool(made)


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
    assert entries(tmp_path) == [] and left(tmp_path) == []
    built = cache.entry("m", "key", build=lambda folder: (folder / "whole").write_text("y"))
    assert (built / "whole").read_text() == "y" and not (built / "half").exists()


def test_another_key_is_another_entry(tmp_path):
    cache = ModelCache(tmp_path)
    paths = {cache.entry("m", *key, build=lambda _: None) for key in [("a", "b"), ("ab",), ("a", "c")]}
    assert len(paths) == 3


def flip(folder):
    content = bytearray((folder / "weights").read_bytes())
    place = random.Random(7).randrange(len(content))
    content[place] ^= 1 << 3
    (folder / "weights").write_bytes(bytes(content))


def restored_time(folder):
    """Flip a bit and set the file's time back, as a failing disk would leave it."""
    seen = (folder / "weights").stat()
    flip(folder)
    os.utime(folder / "weights", ns=(seen.st_atime_ns, seen.st_mtime_ns))


DAMAGES = {
    "a flipped bit": flip,
    "a flipped bit, the time as it was": restored_time,
    "cut": lambda folder: os.truncate(folder / "weights", 100),
    "zeros at the end": lambda folder: (folder / "weights").write_bytes(bytes(256 * 64)),
    "empty": lambda folder: (folder / "weights").write_bytes(b""),
    "gone": lambda folder: (folder / "part" / "facts").unlink(),
    "one too many": lambda folder: (folder / "part" / "other").write_text("x"),
    "no checksums": lambda folder: (folder / CHECKSUMS).unlink(),
    "checksums cut at a line": lambda folder: os.truncate(folder / CHECKSUMS, 64 + 2 + len("part/facts") + 1),
    "checksums cut within one": lambda folder: os.truncate(folder / CHECKSUMS, 40),
    "checksums that are no text": lambda folder: (folder / CHECKSUMS).write_bytes(b"\xff\xfe" * 90),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_again_with_one_notice(tmp_path, damage):
    folder, is_new = built(ModelCache(tmp_path))
    assert is_new
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damage(folder)
    cache = ModelCache(tmp_path)
    assert built(cache) == (folder, True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == whole
    assert len(cache.notices) == 1 and "\n" not in cache.notices[0] and folder.name in cache.notices[0]
    assert built(cache) == (folder, False) and len(cache.notices) == 1


def test_a_key_is_stored_once_under_whatever_labels_it_is_asked_for(tmp_path):
    cache = ModelCache(tmp_path)
    first, _ = built(cache, "one")
    assert built(cache, "../another/name") == (first, False)
    assert [entry.path for entry in entries(tmp_path)] == [first]
    assert first.parent == tmp_path


def test_what_a_killed_preparation_leaves_is_deleted_and_what_runs_is_kept(tmp_path):
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["asking\n", "building\n"]
    sweep(tmp_path)
    assert len(left(tmp_path)) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    sweep(tmp_path)
    assert left(tmp_path) == [] and entries(tmp_path) == []


def names(result):
    return [entry["name"].rpartition("-")[0] for entry in next(iter(result.json.values()))]


def test_the_command_lists_and_prunes_by_name_age_and_size(cli, tmp_path):
    root = tmp_path / "own"
    cache = ModelCache(root)
    for age, (name, size) in enumerate({"a-1": 1000, "a-2": 2000, "b-1": 4000}.items()):
        folder = cache.entry(name, name, build=lambda folder, size=size: (folder / "w").write_bytes(bytes(size)))
        then = time.time() - age * 10 * 24 * 3600
        os.utime(folder / CHECKSUMS, (then, then))
    (root / "hashes").mkdir()

    def listed(*flags):
        result = cli("cache", *flags, "--json", env={"DECODEBENCH_CACHE": str(root)})
        assert result.code == 0, result.err
        return names(result)

    assert listed() == ["a-1", "a-2", "b-1"]
    assert listed("--name", "a-*") == ["a-1", "a-2"]
    assert listed("--older-than", 5) == ["a-2", "b-1"]
    assert listed("--keep", 3000) == ["b-1"] and listed("--keep", "2.9kB") == ["a-2", "b-1"]
    assert listed("--prune", "--older-than", 5, "--name", "a-*") == ["a-2"]
    assert listed() == ["a-1", "b-1"]
    assert listed("--prune") == ["a-1", "b-1"] and listed() == []
    assert (root / "hashes").is_dir()
