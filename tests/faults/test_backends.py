"""Backends that misbehave, each in a process of its own: the round fails with a reason, the others are measured."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest

from ..waiting import until
from . import misbehaving
from .processes import MARK, all_gone, left_behind

PLUGIN = Path(misbehaving.__file__)
SEED = 20261130
CHOSEN = [*random.Random(SEED).sample(sorted(set(misbehaving.FAULTS) - misbehaving.SLOW - {"none"}), 5), "none"]
BASE = ["-b", "misbehaving", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--warmup", 0, "--rounds", 1]


def run(cli, folder, faults, timeout_s):
    options = ["--max-new-tokens", 4, "--timeout", timeout_s, "--set", f"fault={','.join(faults)}", "-o", folder]
    ended = cli("--plugin", PLUGIN, "run", *BASE, *options, env={MARK: str(folder)}, timeout=3000, cwd=folder)
    assert "Traceback" not in ended.err + ended.out
    assert left_behind(folder) == []
    return ended


def outcomes(folder):
    """Return the end lines of each fault's finished logs."""
    found = defaultdict(list)
    for file in sorted(folder.glob("raw/misbehaving/*.jsonl")):
        lines = file.read_bytes().splitlines()
        found[json.loads(lines[0])["options"]["fault"]].append(json.loads(lines[-1]))
    return found


def check(cli, folder, faults, timeout_s):
    assert run(cli, folder, faults, timeout_s).code == 1
    found = outcomes(folder)
    assert not list(folder.glob("raw/*/*.part"))
    assert {fault: len(ends) for fault, ends in found.items()} == dict.fromkeys(faults, 1)
    for fault, (end,) in found.items():
        if fault in misbehaving.HARMLESS:
            assert (end["status"], end["reason"]) == ("ok", None), fault
        else:
            assert end["status"] in ("failed", "crashed", "timeout") and end["reason"], fault
    collated = cli("collate", folder, "--rebuild", "--json")
    assert collated.code == 0 and collated.json["problems"] == []
    sql = (
        "select options->>'fault', count(*), sum(n) from runs join (select run_id, count(*) as n from samples group by "
    )
    rows = cli("query", sql + "1) using (run_id) where status = 'ok' group by 1", folder, "--json").rows
    assert sorted(rows) == sorted([fault, 1, 2] for fault in faults if fault in misbehaving.HARMLESS)


@pytest.mark.nightly
def test_some_bad_backends_fail_alone_and_are_tried_again(cli, tmp_path):
    check(cli, tmp_path, CHOSEN, 20)
    again = [fault for fault in CHOSEN if fault not in misbehaving.HARMLESS][:1]
    assert len(again) == 1 and "1 round kept, 1 to run" in run(cli, tmp_path, [*again, "none"], 20).err
    found = outcomes(tmp_path)
    assert [len(found[fault]) for fault in (*again, "none")] == [2, 1]


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_every_bad_backend_fails_alone(cli, tmp_path):
    check(cli, tmp_path, misbehaving.FAULTS, 10)


def killed_early(cli, folder, delay_s):
    """Kill decodebench so soon after its worker was started; that then loads for ever, if it still does."""
    options = ["--max-new-tokens", 4, "--set", "fault=hang-load", "-o", folder]
    process = cli.start("--plugin", PLUGIN, "run", *BASE, *options, env={MARK: str(folder)})
    until(lambda: list(folder.glob("raw/*/*.part")) and len(left_behind(folder)) > 1, process)
    time.sleep(delay_s)
    process.kill()
    process.communicate(timeout=30)
    assert all_gone(folder)


def test_a_worker_whose_parent_dies_as_it_starts_does_not_outlive_it(cli, tmp_path):
    killed_early(cli, tmp_path / "o", 0.02)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_no_worker_outlives_a_parent_that_dies_early(cli, tmp_path):
    for attempt in range(20):
        killed_early(cli, tmp_path / str(attempt), 0.015 * attempt)
