"""A store over time: older layouts, readers beside writers, writers that are killed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from decodebench import defaults
from decodebench.collate.collate import collate, open_current
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.facts import FACTS_SQL
from decodebench.core.records.store import Store
from decodebench.core.records.store_file import FILE_NAME, OutdatedStoreError

from ..refusals import refused

TABLES = ("runs", "samples", "steps", "sample_facts", "sources")


def content(folder):
    """All rows but for the times of files, which a copy does not keep to the nanosecond everywhere."""
    with Store.open(folder) as store:
        rows = {table: store.dicts(f"SELECT * FROM {table}") for table in TABLES}
    for source in rows["sources"]:
        del source["mtime_ns"]
    return {table: sorted(map(repr, found)) for table, found in rows.items()}


def decodebench(*arguments):
    command = [sys.executable, "-m", "decodebench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def make_old(folder):
    """Turn the store into one of version 1, which had no facts kept, no lines and no plugin of the parser."""
    with Store.open(folder, read_only=False) as store:
        store.query("DROP VIEW sample_metrics")
        store.query("DROP VIEW run_metrics")
        store.query("DROP TABLE sample_facts")
        for table in ("runs", "samples", "steps"):
            store.query(f"CREATE TABLE old_{table} AS SELECT * EXCLUDE (source_line) FROM {table}")
            store.query(f"DROP TABLE {table}")
            store.query(f"ALTER TABLE old_{table} RENAME TO {table}")
        store.query("ALTER TABLE runs DROP COLUMN parser_plugin")
        store.query(f"CREATE VIEW sample_facts AS {FACTS_SQL}")
        store.query("UPDATE meta SET store_version = 1, layout = 'of version 1'")


def test_an_older_store_is_built_anew_by_itself(logs):
    logs.speeds("a", [0.1, 0.2])
    collate(logs.folder, all_plugins())
    before = content(logs.folder)
    make_old(logs.folder)
    with pytest.raises(OutdatedStoreError, match="store version 1"):
        Store.open(logs.folder)
    said = []
    assert len(collate(logs.folder, all_plugins(), announce=said.append).added) == 2
    assert len(said) == 1 and "an older decodebench made" in said[0] and "2 logs" in said[0]
    assert content(logs.folder) == before
    assert sorted(path.name for path in logs.folder.iterdir()) == ["raw", FILE_NAME]
    assert collate(logs.folder, all_plugins(), announce=said.append).added == () and len(said) == 1


def test_a_command_that_reads_builds_an_older_store_anew_and_says_so(logs):
    logs.speeds("a", [0.1, 0.2])
    collate(logs.folder, all_plugins())
    make_old(logs.folder)
    done = decodebench("query", "SELECT count(*) FROM runs", str(logs.folder), "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == [{"count_star()": 2}]
    assert done.stderr.count("\n") == 1 and "2 logs" in done.stderr


def test_an_older_store_whose_logs_are_gone_is_kept_and_says_what_would_be_lost(logs):
    kept, gone = logs.write("a"), logs.write("b")
    part = logs.write("c", end=False)
    collate(logs.folder, all_plugins())
    make_old(logs.folder)
    gone.unlink()
    part.rename(part.with_suffix(""))  # a round that has finished since is not gone
    before = (logs.folder / FILE_NAME).read_bytes()
    with pytest.raises(UsageError, match=r"1 of the 3 logs behind it are gone: raw/b/b_0.jsonl; .*--rebuild.* 1 runs"):
        collate(logs.folder, all_plugins())
    assert (logs.folder / FILE_NAME).read_bytes() == before
    assert len(collate(logs.folder, all_plugins(), rebuild=True).added) == 2 and kept.exists()


def test_a_newer_store_is_refused_and_kept(logs):
    logs.write("a")
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder, read_only=False) as store:
        store.query("UPDATE meta SET store_version = 99")
    done = decodebench("query", "SELECT 1", str(logs.folder))
    assert done.returncode == 2 and "pip install --upgrade decodebench" in done.stderr


def test_readers_take_no_write_lock_while_nothing_changes(logs, monkeypatch):
    monkeypatch.setattr(defaults, "STORE_WAIT_S", 0.1)
    logs.write("a", end=False)
    collate(logs.folder, all_plugins())
    with (
        open_current(logs.folder, all_plugins()).store as first,
        open_current(logs.folder, all_plugins()).store as second,
    ):
        assert first.read_only and second.read_only
        assert open_current(logs.folder, all_plugins()).problems[0].file == "raw/a/a_0.jsonl.part"
        logs.write("b")
        with refused("store-in-use"):  # now it would have to be written
            open_current(logs.folder, all_plugins())
    with open_current(logs.folder, all_plugins()).store as store:
        assert store.query("SELECT count(*) FROM runs")[1] == [(2,)]


@pytest.mark.nightly
def test_several_commands_at_once_all_succeed(logs):
    for cell in "abc":
        logs.speeds(cell, [0.1, 0.2])
    command = [sys.executable, "-m", "decodebench", "query", "SELECT count(*) FROM runs", str(logs.folder), "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "6" in out, err


KILLS = 50


@pytest.mark.nightly
def test_killed_at_any_moment_it_goes_on_and_loses_nothing(make_logs, tmp_path):
    """Real SIGKILLs of a real writer, over two sets of logs that replace each other, until 50 have hit it at work."""
    sets = [make_logs(tmp_path / name) for name in ("one", "two")]
    for index, logs in enumerate(sets):
        for cell in "abcdef"[index:]:
            logs.speeds(cell, [0.1 + index, 0.2, 0.3, 0.4], samples=2)
        logs.write("out-of-range", seed=2**70 - index)  # so that each of the others has a transaction of its own
        collate(logs.folder, all_plugins())
    whole = [content(logs.folder) for logs in sets]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["decodebench.collate.collate", "decodebench.collate.store_update.bulk", "duckdb"])
    rng, folder, kills, longest = random.Random(0), tmp_path / "killed", 0, 1.0
    for attempt in range(6 * KILLS):
        shutil.rmtree(folder / "raw", ignore_errors=True)
        shutil.copytree(sets[attempt % 2].folder / "raw", folder / "raw")
        writer = context.Process(target=collate, args=(folder, rng.random() < 0.3))
        started = time.monotonic()
        writer.start()
        writer.join(rng.uniform(0, longest))
        if writer.exitcode is None:
            os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        if writer.exitcode == 0:
            longest = time.monotonic() - started  # so that later ones are hit at work on a machine of any speed
            continue
        assert writer.exitcode == -signal.SIGKILL
        kills += 1
        if kills % 10 == 0:
            collate(folder, all_plugins())
            assert content(folder) == whole[attempt % 2]
        if kills == KILLS:
            break
    assert kills == KILLS
