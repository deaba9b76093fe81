"""Interleaving by sample: who measures when, what the others do meanwhile, and what is left of a block that breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from decodebench.core.isolation.processes.family import Family
from decodebench.core.measure.rounds.arrangement import Arrangement
from decodebench.core.measure.rounds.block import MOST_IDLE_USE, disturbance
from decodebench.core.measure.rounds.memory import Need, groups
from decodebench.core.measure.rounds.turn_order import turns
from decodebench.core.records.store import Store

from ..waiting import still_alive, until

BASE = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 6]
GIB = 2**30


def rows(cli, folder: Path, sql: str) -> list:
    assert cli("collate", folder).code == 0
    with Store.open(folder) as store:
        return store.query(sql)[1]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_every_turn_order_is_balanced_over_place_and_predecessor(count):
    order = turns(count, "seed")
    square = [next(order) for _ in range(count if count % 2 == 0 else 2 * count)]
    places = Counter((at, who) for row in square for at, who in enumerate(row))
    follows = Counter(pair for row in square for pair in zip(row, row[1:], strict=False))
    assert len(set(places.values())) == len(set(follows.values())) == 1
    assert len(places) == count**2 and len(follows) == count * (count - 1)
    again = turns(count, "seed")
    assert square == [next(again) for _ in square]


@pytest.mark.parametrize(
    ("needs", "free", "found"),
    [
        ([1, 1, 1], 10, [[0, 1, 2]]),
        ([2, 2, 2, 2], 8, [[0, 1, 2], [0, 3]]),
        ([2, 7, 2], 8, [[0, 2], [1]]),
        ([9, 1], 8, [[0], [1]]),
    ],
)
def test_what_does_not_fit_into_memory_is_split_with_the_first_in_each_group(needs, free, found):
    assert groups([Need("cpu", need * GIB, 0) for need in needs], {"cpu": free * GIB}) == found


def test_a_device_whose_memory_nobody_knows_holds_one_at_a_time():
    needs = [Need("cpu", GIB, 0), Need("odd:0", GIB, GIB), Need("odd:0", GIB, GIB)]
    assert groups(needs, {"cpu": 100 * GIB, "odd:0": None}) == [[0, 1], [0, 2]]
    assert groups(needs, {"cpu": 100 * GIB, "odd:0": 10 * GIB}) == [[0, 1, 2]]


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    below = psutil.Process(process.pid).children(recursive=True)
    return [
        one
        for one in below
        if "decodebench.core.measure.worker" in one.cmdline() and "keeper.py" not in str(one.cmdline())
    ]


def test_one_measures_while_the_others_are_stopped_and_ctrl_c_keeps_what_is_done(cli, gate, tmp_path):
    folder = tmp_path / "o"
    arguments = [*BASE, "--max-new-tokens", 2, "--rounds", 2, "-o", folder, "--set", "step_s=0,0.001"]
    process = cli.start(*arguments, env=gate.environment)
    seen = set()

    def has_finished_a_round() -> bool:
        if len(found := workers(process)) == 2:
            states = [one.status() for one in found]
            seen.add(states.count(psutil.STATUS_STOPPED))
        return len(list(folder.glob("raw/faulty/*.jsonl"))) == 2

    gate.hold_when(has_finished_a_round)
    assert seen == {1}
    alive = [one.pid for one in workers(process)]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert still_alive(alive, 10) == []
    process.communicate()
    sql = "SELECT round, status, count(*), count(DISTINCT block) FROM runs GROUP BY ALL ORDER BY ALL"
    assert rows(cli, folder, sql) == [(0, "ok", 2, 1), (1, "interrupted", 2, 1)]

    assert cli(*arguments).code == 0
    sql = "SELECT round, count(*), count(DISTINCT block), max(idle_cpus) <= 0.01, bool_and(other_cpus >= 0) FROM runs "
    assert rows(cli, folder, sql + "WHERE status = 'ok' GROUP BY round ORDER BY round") == [
        (0, 2, 1, True, True),
        (1, 2, 1, True, True),
    ]


@pytest.mark.nightly
def test_a_round_that_failed_joins_a_new_block_with_the_baseline(cli, tmp_path):
    """The baseline of its block went on, and is measured once more for it."""
    folder, both = tmp_path / "o", ("--set", "fault=none,too-many")
    arguments = [*BASE, "--rounds", 1, "-o", folder]
    for _ in range(2):
        assert cli(*arguments, *both).code == 1
    sql = "SELECT options->>'fault', status, count(*), count(DISTINCT block) FROM runs GROUP BY ALL ORDER BY ALL"
    assert rows(cli, folder, sql) == [("none", "ok", 2, 2), ("too-many", "failed", 2, 2)]


def test_a_cell_that_cannot_be_prepared_is_recorded_once_whoever_goes_on(cli, tmp_path):
    """The baseline is one of them; nobody is beside the cell that is left, in a first run as in one that goes on."""
    folder, cells = tmp_path / "o", ("--set", "fault=prepare,none")
    for rounds, failed in ((1, 1), (3, 2)):
        ended = cli(*BASE, "--rounds", rounds, "-o", folder, *cells)
        assert ended.code == 1 and ended.err.count("has no shape") == 1
        sql = "SELECT options->>'fault', status, count(*), count(block) FROM runs GROUP BY ALL ORDER BY ALL"
        assert rows(cli, folder, sql) == [("none", "ok", rounds, 0), ("prepare", "failed", failed, 0)]


@pytest.mark.nightly
def test_cells_that_cannot_be_prepared_join_no_later_round_of_the_others(cli, tmp_path):
    folder, cells = tmp_path / "o", ("--set", "fault=none,prepare", "--set", "step_s=0,0.001")
    for rounds, failed in ((1, 1), (3, 2)):
        assert cli(*BASE, "--samples", 1, "--rounds", rounds, "-o", folder, *cells).code == 1
        sql = "SELECT options->>'fault', count(*), count(DISTINCT block) FROM runs GROUP BY cell_id, 1 ORDER BY ALL"
        assert rows(cli, folder, sql) == [("none", rounds, rounds)] * 2 + [("prepare", failed, 0)] * 2


@pytest.mark.nightly
def test_a_baseline_that_is_there_and_cannot_be_measured_again_fails_in_no_round(cli, tmp_path):
    folder = tmp_path / "o"
    run = [*BASE, "--warmup", 0, "--samples", 1, "--rounds", 2, "-o", folder, "--interleave", "samples"]
    assert cli(*run).code == 0
    ended = cli(*run, "--set", "fault=none,allocate", env={"FAULTY_UNPREPARED": "none"})
    assert ended.err.count("cannot be measured beside the others") == 1
    sql = "SELECT options->>'fault', status, count(*), count(block) FROM runs GROUP BY ALL ORDER BY ALL"
    assert rows(cli, folder, sql) == [("allocate", "ok", 2, 0), ("none", "ok", 2, 0)]


SPINNER = "import threading\nfor _ in range(2): threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"


class _Paused:
    """As much of a worker as is looked at."""

    def __init__(self, family):
        self.family = family


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_does_not_rest_while_others_measure_is_named():
    """Here somebody continues it from outside, as a server does that an engine has started elsewhere."""
    keeper = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPINNER!r}])"]
    )
    try:
        below = psutil.Process(keeper.pid)
        until(lambda: below.children(), keeper)
        family = Family(keeper.pid)
        for is_disturbed in (False, True):
            family.stop()
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                if is_disturbed:
                    os.kill(below.children()[0].pid, signal.SIGCONT)
            family.go_on()
            fault = disturbance(_Paused(family), "restless")
            assert (fault is not None) == is_disturbed, family.stopped_cpu_s
        assert "'restless'" in fault and family.stopped_cpu_s > MOST_IDLE_USE * family.stopped_s
    finally:
        for one in [*psutil.Process(keeper.pid).children(recursive=True), keeper]:
            one.kill()
        keeper.wait()


class _Cell:
    server_key = None

    def __init__(self, name):
        self.id = name


@pytest.mark.parametrize(
    ("complete", "found"),
    [
        ([], [["A", "B", "C"], ["A", "D"]]),
        ([("A", 0), ("B", 0), ("C", 0), ("D", 0)], []),
        ([("A", 0), ("B", 0), ("D", 0)], [["A", "C"]]),
        ([("A", 0), ("B", 0), ("C", 0)], [["A", "D"]]),
        ([("A", 1), ("B", 0), ("C", 0), ("D", 0)], [["A", "B", "C"], ["A", "D"]]),  # the baseline is measured again
        ([("B", 0), ("C", 0), ("D", 0)], [["A"]]),  # one that never finished brings nobody with it
    ],
)
def test_what_is_missing_of_a_round_is_measured_in_turn_with_the_baseline(complete, found):
    assert of_round(0, complete) == found


def of_round(index, complete, unable=()):
    cells = [_Cell(name) for name in "ABCD"]
    arrangement = Arrangement(cells, 1, [cells[:3], [cells[0], cells[3]]])
    found = arrangement.of_round(index, complete, unable=unable)
    return [sorted(cell.id for cell in group) for group in found]


@pytest.mark.parametrize(
    ("complete", "unable", "found"),
    [
        ([], "A", [["B", "C"], ["D"]]),
        ([("A", 0), ("B", 0)], "A", [["C"], ["D"]]),
        ([("A", 1), ("B", 1)], "C", [["A", "B"], ["A", "D"]]),
        ([], "AB", [["C"], ["D"]]),
        ([("A", 0)], "BD", [["A", "C"]]),
        ([], "ABCD", []),
    ],
)
def test_what_cannot_be_measured_joins_nobody(complete, unable, found):
    assert of_round(0, complete, unable) == found


@pytest.mark.parametrize("flags", [[], ["--restart-server"]])
@pytest.mark.parametrize("residence", ["owned-server", "remote"])
def test_what_runs_in_a_server_cannot_interleave_by_sample(cli, tmp_path, residence, flags):
    plugin = tmp_path / "served.py"
    plugin.write_text(
        "from decodebench import Availability, Backend, Quantisation, hookimpl\n"
        "class Served(Backend):\n"
        f"    name, summary, kind, residence = 'served', 'elsewhere', 'autoregressive', {residence!r}\n"
        "    @classmethod\n    def probe(cls):\n        return Availability(True)\n"
        "    @classmethod\n    def quantisations(cls):\n        return [Quantisation('f32', 32.0, 'nothing')]\n"
        "    def load(self, model, device, options):\n        raise AssertionError\n"
        "    def generate(self, batch):\n        raise AssertionError\n"
        "@hookimpl\ndef decodebench_backends():\n    return [Served]\n"
    )
    both = ("--plugin", plugin, *BASE, "-b", "served", "-o", tmp_path / "o", *flags)
    refused = cli(*both, "--interleave", "samples")
    assert refused.code == 2 and "served is a server, which cannot be stopped" in refused.err
    assert not (tmp_path / "o").exists()


def said(cli, *arguments) -> list[str]:
    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    return [line for line in ended.err.splitlines() if line.startswith("interleaved by")]


@pytest.mark.nightly
def test_one_cell_decides_nothing_and_what_is_stored_says_that_it_wins(cli, tmp_path):
    run = [*BASE, "--warmup", 0, "--samples", 1, "--rounds", 1, "-o", tmp_path / "o"]
    for one in ("0", "0.001"):
        assert said(cli, *run, "--name", "alone", "--set", f"step_s={one}") == []
    (line,) = said(cli, *run, "--name", "alone", "--set", "step_s=0,0.001", "--rounds", 2)
    assert line.startswith("interleaved by sample: 2 cells")
    both = [*run, "--name", "both", "--set", "step_s=0,0.001"]
    assert said(cli, *both, "--interleave", "rounds") == []
    (line,) = said(cli, *both, "--rounds", 2)
    assert line.startswith("interleaved by round; so were the rounds that are there already")


def test_a_launcher_that_is_not_the_local_one_cannot_interleave_by_sample(cli, tmp_path):
    plugin = tmp_path / "far.py"
    plugin.write_text(
        "from decodebench import Launcher, hookimpl, run_here\n"
        "class Far(Launcher):\n"
        "    name = summary = 'far'\n"
        "    def run(self, launch, on_line):\n"
        "        return run_here(launch, on_line)\n"
        "@hookimpl\ndef decodebench_launchers():\n    return [Far]\n"
    )
    refused = cli("--plugin", plugin, *BASE, "--launcher", "far", "--interleave", "samples", "-o", tmp_path / "o")
    assert refused.code == 2 and "'far'" in refused.err
