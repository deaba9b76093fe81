"""Every way a round can end badly, each with a real process: what is finished survives and resume completes it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..waiting import still_alive, until

BASE = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 6]


def raw_logs(folder: Path) -> list[Path]:
    return sorted((folder / "raw" / "faulty").glob("*.jsonl"))


def ends(folder: Path) -> dict[str, tuple[str, str]]:
    """Return fault -> (status, reason) of the finished logs of a folder."""
    found = {}
    for file in raw_logs(folder):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        found[lines[0]["options"]["fault"]] = (lines[-1]["status"], lines[-1]["reason"])
    return found


def codes(folder: Path) -> dict[str, str | None]:
    """Return fault -> stable code of the reason, of the finished logs of a folder."""
    found = {}
    for file in raw_logs(folder):
        first, *_, last = (json.loads(line) for line in file.read_text().splitlines())
        found[first["options"]["fault"]] = last.get("reason_code")
    return found


def query(cli, folder: Path, sql: str) -> list:
    assert cli("collate", folder).code == 0
    return cli("query", sql, folder, "--json").rows


FAULTS = {
    "segfault": ("crashed", "SIGSEGV; last engine output: about to touch memory that is not ours"),
    "raise-load": ("failed", "the engine does not like this model"),
    "raise-generate": ("failed", "ValueError: a bug in the backend"),
    "too-many": ("failed", "7 tokens committed, the limit is 6"),
    "too-few": ("failed", "it ended after 5 of 6 tokens without a stop token"),
    "after-stop": ("failed", "4 tokens committed after the stop token"),
    "prepare": ("failed", "tensor 'x' has no shape"),
}


def test_bad_rounds_are_recorded_and_the_matrix_goes_on(cli, tmp_path):
    faults = ",".join([*FAULTS, "none"])
    ended = cli(*BASE, "--rounds", 1, "-o", tmp_path / "o", "--set", f"fault={faults}")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    found = ends(tmp_path / "o")
    assert found.keys() == {*FAULTS, "none"} and found["none"] == ("ok", None)
    for fault, (status, reason) in FAULTS.items():
        assert found[fault][0] == status and reason in found[fault][1], fault
        assert reason in ended.err, fault


def test_failed_rounds_have_the_code_of_their_reason(cli, tmp_path):
    faults = "segfault,raise-load,raise-generate,prepare,none"
    run = cli(*BASE, "--rounds", 1, "-o", tmp_path / "o", "--set", f"fault={faults}", "--json")
    expected = {
        "segfault": "engine-crashed",
        "raise-load": "engine-failed",
        "raise-generate": "plugin-failed",
        "prepare": "model-unusable",
    }
    assert codes(tmp_path / "o") == expected | {"none": None}
    assert sorted(failed["code"] for failed in run.json["failed"]) == sorted(expected.values())
    stored = query(cli, tmp_path / "o", "SELECT reason_code FROM runs WHERE reason_code IS NOT NULL")
    assert sorted(code for (code,) in stored) == sorted(expected.values())


@pytest.mark.nightly
def test_a_hang_costs_one_round(cli, tmp_path):
    ended = cli(*BASE, "--rounds", 1, "-o", tmp_path / "o", "--set", "fault=hang,none", "--timeout", 4)
    assert ended.code == 1
    assert ends(tmp_path / "o") == {"hang": ("timeout", "stopped after the time-out of 4 s"), "none": ("ok", None)}
    assert codes(tmp_path / "o") == {"hang": "timed-out", "none": None}


@pytest.mark.nightly
def test_samples_finished_before_a_time_out_count(cli, tmp_path):
    folder = tmp_path / "o"
    ended = cli(*BASE, "--warmup", 0, "--rounds", 1, "-o", folder, "--set", "fault=none,hang", "--timeout", 4)
    assert ended.code == 1
    lines = {log: [json.loads(line) for line in log.read_text().splitlines()] for log in raw_logs(folder)}
    cut = {found[0]["options"]["fault"]: found[-1].get("cut") for found in lines.values()}
    assert cut == {"none": None, "hang": "stopped after the time-out of 4 s with 1 of 2 samples, which count"}
    rows = cli("compare", folder, "--json").json["rows"]
    assert [row["rounds"] for row in rows] == [1, 1] and rows[1]["parity"]["compared"] == 1
    found = {one["check"]: one for one in cli("findings", folder, "--json").json["findings"]}
    assert "cut-rounds" in found and found["cut-rounds"]["severity"] == "warning"


STREAMING = """
import time
from decodebench import Step, hookimpl
from faulty_backend import Faulty

class Streaming(Faulty):
    name, summary = "streaming", "answers all requests but the last one"
    supports = frozenset({*Faulty.supports, "continuous"})

    def stream(self, source, max_in_flight):
        while not source.ended:
            source.wait()
            if (request := source.poll()) is not None:
                if source.ended and request.row:
                    time.sleep(600)
                for index in range(request.max_new_tokens):
                    yield Step((20 + index,), row=request.row, forwards=1)

@hookimpl
def decodebench_backends():
    return [Streaming]
"""


@pytest.mark.nightly
def test_requests_under_load_count_once_all_have_ended_and_a_time_out_says_so(cli, tmp_path):
    plugin = tmp_path / "streaming.py"
    plugin.write_text(STREAMING)
    run = ["--plugin", plugin, "run", "-b", "streaming", *BASE[3:], "--samples", 3, "--ignore-eos", "--concurrency", 1]
    ended = cli(*run, "--rounds", 1, "--timeout", 12, "-o", tmp_path / "o")
    assert ended.code == 1
    assert "time-out of 12 s; requests under load are recorded once all have ended" in ended.err


@pytest.mark.nightly
def test_a_device_that_is_not_there_is_refused_once(cli, tmp_path):
    ended = cli(*BASE, "--rounds", 3, "-d", "cpu", "-d", "cuda:0", "-o", tmp_path / "o")
    assert ended.code == 1 and ended.err.count("device 'cuda:0' is not there; faulty sees cpu") == 1
    devices = [json.loads(log.read_text().splitlines()[0])["device"] for log in raw_logs(tmp_path / "o")]
    assert sorted(devices) == ["cpu", "cpu", "cpu", "cuda:0"]


@pytest.mark.nightly
def test_a_backend_that_allocates_too_much_meets_its_limit(cli, tmp_path):
    ended = cli(*BASE, "--rounds", 1, "-o", tmp_path / "o", "--set", "fault=allocate,none", "--memory-limit", "600M")
    assert ended.code == 1
    found = ends(tmp_path / "o")
    assert found["none"] == ("ok", None)
    assert found["allocate"][0] == "failed"
    assert found["allocate"][1].startswith("out of memory")
    assert codes(tmp_path / "o")["allocate"] == "out-of-memory"


@pytest.mark.nightly
def test_too_little_memory_is_noticed_before_the_round_starts(cli, tmp_path):
    ended = cli(*BASE, "--rounds", 1, "-m", "tiny:target", "-o", tmp_path / "o", "--memory-limit", "1MiB")
    assert ended.code == 1
    assert "too little memory" in ended.err
    assert "MiB needed, 1.0 MiB is allowed" in ended.err
    assert ends(tmp_path / "o")["none"][0] == "skipped"
    assert not list((tmp_path / "o").glob("raw/*/*.engine.txt"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_too_little_disk_is_noticed_before_the_round_starts(cli, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        ended = cli(*BASE, "--rounds", 1, "--max-new-tokens", 500, "-o", folder)
        assert ended.code == 1
        assert "too little disk" in ended.err
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_write_that_fails_stops_the_run_and_loses_nothing_finished(cli, tmp_path):
    folder = tmp_path / "o"
    assert cli(*BASE, "--rounds", 1, "-o", folder).code == 0
    size = raw_logs(folder)[0].stat().st_size

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 500, size - 500))

    ended = cli.cold(*BASE, "--rounds", 2, "-o", folder, preexec_fn=small_files_only)
    assert ended.code == 1
    assert "cannot write the log" in ended.err
    assert "Traceback" not in ended.err
    parts = list(folder.glob("raw/faulty/*.part"))
    assert len(parts) == 1
    assert parts[0].read_bytes().endswith(b"\n"), "a half line was left behind"

    assert cli(*BASE, "--rounds", 2, "-o", folder).code == 0
    rows = query(cli, folder, "select round, count(*) from runs where status = 'ok' group by round order by round")
    assert rows == [[0, 1], [1, 1]]


def test_ctrl_c_keeps_what_is_done_and_resume_completes_it_once(cli, gate, tmp_path):
    folder = tmp_path / "o"
    arguments = [*BASE, "--rounds", 3, "-o", folder]
    process = cli.start(*arguments, env=gate.environment)
    gate.hold_when(lambda: raw_logs(folder))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert query(cli, folder, "select count(*) from runs where status = 'ok'") == [[1]]

    resumed = cli(*arguments)
    assert resumed.code == 0
    assert "1 round kept" in resumed.err
    sql = "select round, count(*) from runs where status = 'ok' group by round order by round"
    assert query(cli, folder, sql) == [[0, 1], [1, 1], [2, 1]]


@pytest.mark.nightly
def test_ctrl_c_is_tested_where_tests_run_as_a_job_in_the_background_too():
    """A shell starts such a job with SIGINT ignored, which every process that it starts would inherit."""
    wanted = f"{__file__}::{test_ctrl_c_keeps_what_is_done_and_resume_completes_it_once.__name__}"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", wanted],
        cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True, timeout=250,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout


@pytest.mark.nightly
def test_a_run_in_the_background_goes_on_at_ctrl_c(cli, gate, tmp_path):
    folder = tmp_path / "o"
    process = cli.start(*BASE, "--rounds", 1, "-o", folder, env=gate.environment, interruptible=False)
    gate.hold()
    os.killpg(process.pid, signal.SIGINT)
    gate.open()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(raw_logs(folder)) == 1


@pytest.mark.nightly
def test_two_runs_into_one_folder_do_not_disturb_each_other(cli, gate, tmp_path):
    folder = tmp_path / "o"
    first = cli.start(*BASE, "--rounds", 1, "-o", folder, env=gate.environment)
    gate.hold()
    second = cli(*BASE, "--rounds", 1, "-o", folder)
    assert second.code == 2
    assert f"another run (process {first.pid})" in second.err
    gate.open()
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert len(raw_logs(folder)) == 1


@pytest.mark.nightly
def test_a_killed_parent_leaves_no_worker_and_a_readable_part(cli, gate, tmp_path):
    folder = tmp_path / "o"
    process = cli.start(*BASE, "--rounds", 1, "--warmup", 0, "-o", folder, env=gate.environment)
    for _ in range(7):  # the second sample's first step
        gate.hold()
    until(lambda: any('"type": "sample"' in f.read_text() for f in folder.glob("raw/faulty/*.part")), process)
    workers = children(process.pid)
    assert workers
    process.kill()
    process.communicate(timeout=30)
    assert still_alive(workers, seconds=10) == []
    rows = query(cli, folder, "select r.status, count(s.index) from runs r join samples s using (run_id) group by 1")
    assert rows == [["incomplete", 1]]
    assert cli(*BASE, "--rounds", 1, "--warmup", 0, "-o", folder).code == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("share", [0.5, *(pytest.param(share, marks=pytest.mark.nightly) for share in (0.1, 0.99))])
def test_a_log_cut_at_any_byte_is_measured_again_and_not_counted_twice(cli, tmp_path, share):
    folder = tmp_path / "o"
    assert cli(*BASE, "--rounds", 2, "-o", folder).code == 0
    victim = raw_logs(folder)[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: int(len(content) * share)])
    resumed = cli(*BASE, "--rounds", 2, "-o", folder)
    assert resumed.code == 0
    assert "1 round kept, 1 to run" in resumed.err
    sql = "select round, count(*) from runs where status = 'ok' group by round order by round"
    assert query(cli, folder, sql) == [[0, 1], [1, 1]]


@pytest.mark.nightly
def test_fresh_begins_a_new_experiment_and_keeps_the_old(cli, tmp_path):
    folder = tmp_path / "o"
    for flag in ("--resume", "--fresh"):
        assert cli(*BASE, "--rounds", 1, "--name", "mine", "-o", folder, flag).code == 0
    rows = query(cli, folder, "select experiment, count(*) from runs group by 1 order by 1")
    assert rows == [["mine", 1], ["mine.2", 1]]
    shutil.rmtree(folder)
