"""Trouble that passes, while logs are read or written: it is reported, stored as nobody's fault, and tried again."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from decodebench.collate.collate import collate
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.core.records.store_file import StoreTroubleError

RUN = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 6]
SEED = 11


@pytest.fixture(scope="module")
def measured(cli_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    assert cli_for(folder)(*RUN, "--rounds", 2, "-o", folder / "o").code == 0
    return folder / "o"


@pytest.fixture
def folder(measured, tmp_path):
    shutil.copytree(measured / "raw", tmp_path / "o" / "raw")
    return tmp_path / "o"


def rows(folder):
    with Store.open(folder) as store:
        runs = store.query("SELECT source_file FROM runs ORDER BY ALL")[1]
        return [name for (name,) in runs], store.query("SELECT path, problem FROM sources ORDER BY ALL")[1]


def whole(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("raw/faulty/*.jsonl"))
    return names, [(name, None) for name in names]


def limited(cli, *command, size):
    """Run a command that cannot make a file grow beyond so many bytes."""
    return cli.cold(*command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


@contextmanager
def unreadable(path):
    """Let every read of a file fail with an I/O error, as the kernel does it for memory that is not there."""
    kept = path.with_name("kept")
    path.rename(kept)
    path.symlink_to("/proc/self/mem")
    try:
        yield
    finally:
        path.unlink()
        kept.rename(path)


@pytest.mark.nightly
def test_an_input_output_error_is_no_verdict(cli, folder):
    victim, other = sorted(folder.glob("raw/faulty/*.jsonl"))
    with unreadable(victim):
        ended = cli("collate", folder, "--json")
        assert ended.code == 1 and "Traceback" not in ended.err
        name, found = victim.relative_to(folder).as_posix(), ended.json
        assert found["unread"] == [problem["file"] for problem in found["problems"]] == [name]
        assert found["added"] == [other.relative_to(folder).as_posix()]
        assert rows(folder) == ([found["added"][0]], [(found["added"][0], None)])
        ended = cli("query", "select count(*) from runs", folder, "--json")
        assert ended.code == 1 and ended.rows == [[1]] and name in ended.err
    ended = cli("collate", folder, "--json")
    assert ended.code == 0 and ended.json["added"] == [name] and ended.json["problems"] == []
    assert rows(folder) == whole(folder)


@pytest.mark.nightly
def test_what_is_known_of_a_file_stays_while_it_cannot_be_read(folder):
    assert len(collate(folder, all_plugins()).added) == 2
    with unreadable(sorted(folder.glob("raw/faulty/*.jsonl"))[0]):
        assert len(collate(folder, all_plugins()).unread) == 1
        assert rows(folder) == whole(folder)
    assert collate(folder, all_plugins()).problems == ()


@pytest.mark.nightly
def test_a_run_does_not_measure_again_what_it_cannot_read_now(cli, folder):
    with unreadable(sorted(folder.glob("raw/faulty/*.jsonl"))[0]):
        ended = cli(*RUN, "--rounds", 2, "-o", folder)
        assert ended.code == 2 and "cannot read" in ended.err
    assert len(list(folder.glob("raw/faulty/*.jsonl"))) == 2


@pytest.mark.parametrize("room", [4096, *(pytest.param(n, marks=pytest.mark.nightly) for n in (30_000, 100_000))])
def test_a_disk_without_room_for_the_store_is_no_verdict(cli, folder, room):
    before = {path: path.read_bytes() for path in folder.glob("raw/*/*")}
    ended = limited(cli, "collate", folder, size=room)
    assert "Traceback" not in ended.err and ended.err.count("\n") <= 2
    assert ended.code != 0 or rows(folder) == whole(folder)
    assert {path: path.read_bytes() for path in folder.glob("raw/*/*")} == before
    ended = cli("collate", folder, "--json")
    assert ended.code == 0 and ended.json["problems"] == []
    assert rows(folder) == whole(folder)


@pytest.mark.nightly
def test_no_room_for_what_is_loaded_is_no_verdict(cli, folder):
    ended = cli.cold("collate", folder, env={"TMPDIR": "/proc"})  # where nobody can write
    if ended.code:
        assert "Traceback" not in ended.err
    ended = cli("collate", folder, "--json")
    assert ended.code == 0 and ended.json["problems"] == []
    assert rows(folder) == whole(folder)


def test_no_memory_for_one_file_is_no_verdict(folder, monkeypatch):
    from decodebench.collate.store_update import log_files

    def read(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("decodebench.collate.store_update.bulk.stage", lambda *_: {})
        patched.setattr(log_files.decodebench, "read", read)
        report = collate(folder, all_plugins())
        assert len(report.unread) == 2 and rows(folder) == ([], [])
    assert collate(folder, all_plugins()).problems == ()
    assert rows(folder) == whole(folder)


def test_what_duckdb_cannot_write_is_told_from_what_it_does_not_take(tmp_path, monkeypatch):
    import duckdb

    with Store.open(tmp_path, read_only=False) as store:
        assert isinstance(store._refused(duckdb.IOException("x")), StoreTroubleError)
        assert not isinstance(store._refused(duckdb.ConstraintException("x")), StoreTroubleError)


def fill_up_at(cli, folder, room):
    """Let every file of a run end at so many bytes; then go on with room."""
    ended = limited(cli, *RUN, "--rounds", 2, "-o", folder, size=room)
    assert "Traceback" not in ended.err + ended.out
    parts = [part.read_bytes() for part in folder.glob("raw/faulty/*.part")]
    assert all(data.endswith(b"\n") for data in parts if data)
    for log in folder.glob("raw/faulty/*.jsonl"):
        assert json.loads(log.read_bytes().splitlines()[-1])["type"] == "end"
    resumed = cli(*RUN, "--rounds", 2, "-o", folder)
    assert resumed.code == 0, resumed.err
    sql = "select round, count(*) from runs where status = 'ok' group by round order by round"
    assert cli("query", sql, folder, "--json").rows == [[0, 1], [1, 1]]


def log_size(measured):
    return max(log.stat().st_size for log in measured.glob("raw/faulty/*.jsonl"))


@pytest.mark.nightly
def test_a_disk_that_is_full_at_some_write_loses_nothing(cli, measured, tmp_path):
    fill_up_at(cli, tmp_path / "o", random.Random(SEED).randrange(log_size(measured)))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_disk_that_is_full_at_any_write_loses_nothing(cli, measured, tmp_path):
    size = log_size(measured)
    lines = sorted(measured.glob("raw/faulty/*.jsonl"))[0].read_bytes().splitlines(keepends=True)
    ends = [sum(map(len, lines[: index + 1])) for index in range(len(lines))]
    for room in sorted({0, *(end - 1 for end in ends), *(end + 1 for end in ends), size}):
        fill_up_at(cli, tmp_path / str(room), room)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_system_without_room_is_no_verdict(cli, measured, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        shutil.copytree(measured / "raw", folder / "raw")
        (folder / "filler").write_bytes(bytes(300 * 2**10))
        ended = cli("collate", folder)
        assert ended.code != 0 and "Traceback" not in ended.err
        (folder / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        ended = cli("collate", folder, "--json")
        assert ended.code == 0 and ended.json["problems"] == []
        assert rows(folder) == whole(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
