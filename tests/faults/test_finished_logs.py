"""A finished round is kept and counted once, whatever happens to its file at the very end or afterwards."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.log_content import LineError, LogContent
from decodebench.core.records.store import Store

from ..waiting import until
from .processes import MARK, all_gone

SEED = 7
ROUNDS = 2
BASE = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 6]
RUN = [*BASE, "--warmup", 0, "--rounds", ROUNDS, "-o"]
ONCE = [[index, 1] for index in range(ROUNDS)]


def counted(cli, folder):
    """Return round and number of its finished runs."""
    sql = "select round, count(*) from runs where status = 'ok' group by round order by round"
    return cli("query", sql, folder, "--json").rows


def start_on_failing_disk(cli, tmp_path, call, how):
    command = [sys.executable, Path(__file__).with_name("failing_disk.py"), call, how, *RUN, tmp_path / "o"]
    environment = {**cli.environment, "FAILING_DISK": str(tmp_path / "held"), MARK: str(tmp_path)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        list(map(str, command)),
        **streams,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def resume(cli, folder, before):
    """Measure what is missing: finished logs are kept as they are, under their final names."""
    resumed = cli(*RUN, folder)
    assert resumed.code == 0 and "Traceback" not in resumed.err
    after = {file.name: file.read_bytes() for file in folder.glob("raw/*/*.jsonl")}
    assert before.items() <= after.items() and len(after) == ROUNDS
    assert counted(cli, folder) == ONCE


def finished(folder):
    """Return name and content of each log with its end line, whatever it is called."""
    files = {file.name.removesuffix(".part"): file.read_bytes() for file in folder.glob("raw/*/*.jsonl*")}
    return {name: data for name, data in files.items() if b'{"type": "end"' in data}


@pytest.mark.nightly
@pytest.mark.parametrize("call", [pytest.param("fsync", marks=pytest.mark.nightly), "rename"])
def test_a_log_whose_end_cannot_be_secured_stops_the_run_and_counts_once(cli, tmp_path, call):
    process = start_on_failing_disk(cli, tmp_path, call, "fails")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "cannot write the log" in err and "Traceback" not in err
    before = finished(tmp_path / "o")
    assert len(before) == 1
    assert counted(cli, tmp_path / "o") == ONCE[:1]
    resume(cli, tmp_path / "o", before)


MOMENTS = list(itertools.product(("fsync", "rename"), ("holds before", "holds after"), ("KILL", "INT", "TERM")))


def killed_at(cli, tmp_path, call, how, name):
    process = start_on_failing_disk(cli, tmp_path, call, how)
    until((tmp_path / "held").exists, process)
    process.send_signal(signal.Signals[f"SIG{name}"])
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" not in err
    assert all_gone(tmp_path)
    before = finished(tmp_path / "o")
    assert len(before) == 1
    resume(cli, tmp_path / "o", before)


@pytest.mark.nightly
@pytest.mark.parametrize(("call", "how", "name"), random.Random(SEED).sample(MOMENTS, 1))
def test_a_kill_as_a_log_is_finished_counts_it_once(cli, tmp_path, call, how, name):
    killed_at(cli, tmp_path, call, how, name)


@pytest.mark.nightly
@pytest.mark.parametrize(("call", "how", "name"), MOMENTS)
@pytest.mark.parametrize("attempt", range(3))
def test_every_kill_as_a_log_is_finished_counts_it_once(cli, tmp_path, call, how, name, attempt):
    killed_at(cli, tmp_path, call, how, name)


@pytest.fixture(scope="module")
def measured(cli_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    assert cli_for(folder)(*RUN, folder / "o").code == 0
    shutil.rmtree(folder / "o" / "raw" / "parity", ignore_errors=True)
    return folder / "o"


@pytest.mark.nightly
def test_a_finished_part_is_renamed_and_nothing_is_measured_again(cli, measured, tmp_path):
    folder = tmp_path / "o"
    shutil.copytree(measured, folder)
    for log in folder.glob("raw/faulty/*.jsonl"):
        log.rename(f"{log}.part")
    before = finished(folder)
    assert counted(cli, folder) == ONCE
    resume(cli, folder, before)
    assert not list(folder.glob("raw/*/*.part"))


def test_two_runs_of_one_round_count_once_in_any_order_of_arrival(measured, tmp_path):
    """As where a round was measured in two places whose folders are put together."""
    folder = tmp_path / "o"
    shutil.copytree(measured / "raw", folder / "raw")
    first = min(folder.glob("raw/faulty/*.jsonl"))
    run_id = json.loads(first.read_bytes().splitlines()[0])["run_id"]
    twin = first.with_name("0.jsonl")
    twin.write_bytes(first.read_bytes().replace(run_id.encode(), b"another-run"))

    def sources():
        problems = collate(folder, all_plugins()).problems
        with Store.open(folder) as store:
            sql = f"SELECT source_file FROM runs WHERE run_id IN ('another-run', '{run_id}')"
            return [name for (name,) in store.query(sql)[1]], [problem.file for problem in problems]

    names = {file: file.relative_to(folder).as_posix() for file in (first, twin)}
    for away, left in ((twin, first), (first, twin)):
        data = away.read_bytes()
        away.unlink()
        assert sources() == ([names[left]], [])
        away.write_bytes(data)
        assert sources() == ([names[twin]], [names[first]])


def damaged(data, kind, at):
    return {
        "cut": data[:at],
        "zeros": data[:at] + bytes(len(data) - at),  # of a power cut: the size is there, the content is not
        "empty": b"",
        "end cut": data[:-1],
        "key": data.replace(b'"tokens"', b'"tokenz"', 1),
        "type": data.replace(b'"load_s": ', b'"load_s": "', 1),
    }[kind]


def damage_and_resume(cli, measured, folder, kind, rng):
    shutil.copytree(measured, folder)
    if rng.random() < 0.5:
        (folder / "results.duckdb").unlink()
    victim = rng.choice(sorted(folder.glob("raw/faulty/*.jsonl")))
    data = victim.read_bytes()
    victim.write_bytes(damaged(data, kind, rng.randrange(len(data))))
    if kind != "key" and rng.random() < 0.5:
        victim.rename(f"{victim}.part")
    resumed = cli(*RUN, folder)
    assert resumed.code == 0 and "1 round kept, 1 to run" in resumed.err, kind
    assert counted(cli, folder) == ONCE


@pytest.mark.nightly
def test_a_damaged_log_is_measured_again(cli, measured, tmp_path):
    damage_and_resume(cli, measured, tmp_path / "o", "key", random.Random(SEED))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["cut", "zeros", "empty", "end cut", "key", "type"])
def test_logs_damaged_at_random_are_measured_again(cli, measured, tmp_path, kind):
    rng = random.Random(kind)
    for attempt in range(8):
        damage_and_resume(cli, measured, tmp_path / str(attempt), kind, rng)


def killed_at_random(cli, folder, delay_s, kill):
    process = cli.start(*RUN, folder, "--set", "step_s=0.01", env={MARK: str(folder)})
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(kill)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert all_gone(folder)
    before = {file.name: file.read_bytes() for file in folder.glob("raw/*/*.jsonl")}
    resumed = cli(*RUN, folder, "--set", "step_s=0.01")
    assert resumed.code == 0
    assert all((folder / "raw" / "faulty" / name).read_bytes() == data for name, data in before.items())
    assert counted(cli, folder) == ONCE


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_fifty_kills_at_random_moments_lose_and_double_nothing(cli, tmp_path):
    rng = random.Random(SEED)
    for attempt in range(50):
        kill = rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        killed_at_random(cli, tmp_path / str(attempt), rng.uniform(0.2, 5), kill)


HEAD = {
    "schema": 1, "run_id": "r", "experiment": "e", "cell_id": "c", "round": 0, "started_at": "2026-01-01",
    "backend": "b", "model": "m", "quantisation": "f16", "device": "cpu", "samples": 2, "warmup": 0,
    "max_new_tokens": 8,
}  # fmt: skip
SAMPLE = {"index": 0, "output_tokens": 1}
STEP = {"sample": 0, "index": 0, "tokens": 1}


@pytest.mark.parametrize(
    ("kind", "line", "text"),
    [
        ("run", HEAD, "twice"),
        ("sample", SAMPLE, "twice"),
        ("step", STEP, "not the next step"),
        ("step", STEP | {"index": 2}, "not the next step"),
        ("step", STEP | {"sample": 1}, "not the next step"),
        ("step", STEP | {"index": 1, "tokens": "1"}, "field 'tokens'"),
        ("step", STEP | {"index": 1, "draft_s": float("nan")}, "field 'draft_s'"),
        ("step", STEP | {"index": 1, "trace": {"a": [float("inf")]}}, "field 'trace'"),
        ("step", STEP | {"index": 1, "token_ids": [2**63]}, "field 'token_ids'"),
        ("step", STEP | {"index": 1, "text": "x" * 2**24}, "at most 16777216"),
        ("sample", {"index": 1, "output_tokens": 1, "engine": {"x": "1"}}, r"field 'engine\.x'"),
        ("sample", {"index": 1, "output_tokens": 1, "speed": 1}, "field 'speed'"),
        ("score", {"index": 0, "score": 1.5}, "field 'score'"),
        ("load", {"parameters": -1}, "field 'parameters'"),
        ("end", {"status": "finished"}, "field 'status'"),
        ("remark", {}, "unknown type 'remark'"),
    ],
)
def test_a_line_that_could_not_be_read_again_is_not_written(kind, line, text):
    content = LogContent()
    for good in (("run", HEAD), ("sample", SAMPLE), ("step", STEP)):
        content.accept(*good)
    with pytest.raises(LineError, match=text):
        content.accept(kind, line)
    assert content.samples == 1


def test_samples_count_as_soon_as_they_are_whole():
    """The torn one does not, whichever it is, nor one that failed or warmed up."""
    content = LogContent()
    content.accept("run", HEAD)
    found = []
    for index, more in enumerate(({"is_warmup": True}, {}, {"status": "failed", "reason": "no"}, {})):
        content.accept("sample", {**SAMPLE, "index": index, **more})
        found.append(content.measured)
        if "status" not in more:
            for step in range(SAMPLE["output_tokens"]):
                content.accept("step", {**STEP, "sample": index, "index": step})
                found.append(content.measured)
    whole = SAMPLE["output_tokens"]
    assert found == [0] * (1 + whole) + [0] * whole + [1] + [1] + [1] * whole + [2]
    assert content.whole == content.samples == 4
