"""Raw folders with what is no log in them, folders that cannot be written to, and files that nest beyond measure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import decodebench
from benchmarks.scale import cost_of, write_megabytes

from ..at_night import a_few

LINKS = {
    "to itself": lambda path: path.symlink_to(path.name),
    "to nowhere": lambda path: path.symlink_to("/nowhere"),
    "to a device": lambda path: path.symlink_to("/dev/zero"),
    "to the folder above": lambda path: path.symlink_to(".."),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_what_is_no_log_is_passed_over(cli, logs, make):
    logs.speeds("a", [0.1, 0.11])
    for name in ("b.jsonl", "b.jsonl.part"):
        make(logs.folder / "raw" / "a" / name)
    (logs.folder / "raw" / "imported" / "e" / "p" / "d").mkdir(parents=True)
    make(logs.folder / "raw" / "imported" / "e" / "p" / "d" / "log.txt")
    result = cli("compare", logs.folder, "--json", timeout=60)
    assert result.code == 0, result.err
    assert [row["rounds"] for row in result.json["rows"]] == [2]
    refused = cli("collate", logs.folder, "--import", logs.folder / "raw" / "a" / "b.jsonl", timeout=60)
    assert "Traceback" not in refused.err and refused.code in (0, 1, 2)


READ_AS_NOBODY = """
import os, sys, decodebench
for folder, user in zip(sys.argv[1:], (0, 65534)):  # first as root: others may not read what is imported on the way
    os.setuid(user)
    with decodebench.open(folder) as results:
        print(*[row.rounds for row in results.compare(steady_state=True).rows], *results.query("SELECT 1").rows[0])
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become a user for whom it is closed")
def test_a_folder_that_cannot_be_written_to_is_read_without_a_store(make_logs):
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folders = [Path(name) / "first", Path(name) / "closed"]
        for folder in folders:
            logs = make_logs(folder)
            logs.speeds("a", [0.1, 0.11])
            logs.speeds("b", [0.2, 0.21])
        before = sorted(folders[1].rglob("*"))
        command = [sys.executable, "-c", READ_AS_NOBODY, *map(str, folders)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines() == ["2 2 1"] * 2
        assert sorted(folders[1].rglob("*")) == before and not list(
            Path(tempfile.gettempdir()).glob("decodebench-*/results*")
        )


DEEP = 100_000
NESTED = {
    "plan.toml": "a = " + "[" * DEEP + "]" * DEEP,
    "inline.toml": "a = " + "{a = " * DEEP + "1" + "}" * DEEP,
}


@pytest.mark.parametrize("name", NESTED)
def test_files_that_nest_too_deep_are_named(cli, tmp_path, name):
    (tmp_path / name).write_text(NESTED[name])
    result = cli("run", tmp_path / name, "-o", tmp_path / "out")
    assert result.code == 2 and "Traceback" not in result.err and name in result.err
    (tmp_path / "config.toml").write_text(NESTED[name])
    result = cli("models")
    assert result.code == 2 and "Traceback" not in result.err and "config.toml" in result.err


@pytest.mark.parametrize("depth", a_few(1, [900, 300, DEEP]))
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_models_and_values_that_nest_too_deep_are_refused(cli, tmp_path, depth, file):
    deep = "[" * depth + "]" * depth
    result = cli("run", "-b", "llama-cpp", "-m", "tiny:target", "--set", f"n_threads={deep}", "-o", tmp_path / "out")
    assert result.code == 2 and "Traceback" not in result.err
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (folder / file).write_text('{"architectures": ' + deep + "}")
    result = cli("prepare", "-b", "transformers", folder)
    assert result.code in (1, 2) and "Traceback" not in result.err


@pytest.mark.parametrize("depth", a_few(1, [900, 200, 300, DEEP]))
def test_logs_that_nest_too_deep_are_problems_of_their_file(cli, logs, depth):
    logs.speeds("a", [0.1, 0.11])
    path = logs.folder / "raw" / "a" / "a_1.jsonl"
    deep = '"options": {"z": ' + "[" * depth + "]" * depth + "}"
    path.write_text(path.read_text().replace('"options": {}', deep))
    result = cli("collate", logs.folder)
    assert result.code == 0 and "Traceback" not in result.err
    result = cli("compare", logs.folder, "--json")
    assert result.code == 0 and "Traceback" not in result.err
    assert sum(row["rounds"] for row in result.json["rows"]) in (1, 2)


def records(folder):
    with decodebench.open(folder) as results:
        assert not results.problems
        return [results.query(f"SELECT * FROM {table} ORDER BY ALL").rows for table in ("runs", "samples", "steps")]


def test_a_log_that_is_read_record_by_record_gives_the_same_rows(
    make_logs, make_sample, make_steps, tmp_path, monkeypatch
):
    spaced = {"a": "plain", "b": "spaced"}
    for name in spaced:
        content = [make_sample(i, make_steps(n=4, gap=0.1, text="x")) for i in range(3)]
        make_logs(tmp_path / name).write("a", 0, content, scores=(1.0, 0.0, 0.5))
    whole = records(tmp_path / "a")
    monkeypatch.setattr("decodebench.core.records.raw_log.LARGE_BYTES", 100)
    monkeypatch.setattr("decodebench.collate.store_update.loading.LARGE_BYTES", 100)
    monkeypatch.setattr("decodebench.core.records.store._WAITING_BYTES", 300)
    assert records(tmp_path / "b") == whole and len(whole[2]) == 12


@pytest.mark.parametrize("broken", ['"tokens": "many"', '"sample": 7'])
def test_a_record_that_is_wrong_is_named_in_a_large_log_too(cli, logs, make_sample, make_steps, monkeypatch, broken):
    path = logs.write("a", 0, [make_sample(i, make_steps(n=4)) for i in range(3)])
    lines = path.read_text().splitlines()
    name = broken.partition(":")[0]
    at = max(i for i, line in enumerate(lines) if '"type": "step"' in line)
    lines[at] = re.sub(rf"{name}: \d+", broken, lines[at])
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("decodebench.core.records.raw_log.LARGE_BYTES", 100)
    monkeypatch.setattr("decodebench.collate.store_update.loading.LARGE_BYTES", 100)
    with decodebench.open(logs.folder) as results:
        (problem,) = results.problems
        assert ("tokens" in problem.text and f":{at + 1}:" in problem.text) or "a step of a sample" in problem.text
        assert results.query("SELECT count(*) FROM steps").rows == [(0,)]


def test_a_line_without_end_is_refused(logs, monkeypatch):
    monkeypatch.setattr("decodebench.core.records.raw_log.LONGEST_LINE_BYTES", 5000)
    path = logs.write("a", 0)
    path.write_text(path.read_text() + '{"type": "step", "text": "' + "a" * 10_000)
    with decodebench.open(logs.folder) as results:
        assert "a line of more than" in results.problems[0].text


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_gigabyte_is_read_in_a_gigabyte_and_a_half(tmp_path):
    write_megabytes(tmp_path, 1000)
    cost = cost_of([sys.executable, "-m", "decodebench", "collate", str(tmp_path)], 1000)
    assert cost.peak_rss_mb < 1500
    with decodebench.open(tmp_path) as results:
        assert not results.problems and results.query("SELECT count(*) FROM steps").rows[0][0] > 10**6
