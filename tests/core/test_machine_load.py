"""What else runs on the machine is seen, said once, waited for or refused; thread counts are decided once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest

from decodebench import BusyError, WhenBusy
from decodebench.core.cli.plan_flags import busy_options, when_busy
from decodebench.core.measure.machine.condition import Condition, look
from decodebench.core.measure.machine.cpu_load import CpuWatch, busiest_processes, busy_seconds
from decodebench.core.measure.machine.threads import threads_beside
from decodebench.core.measure.machine.waiting import settle
from decodebench.core.measure.output.folder import stored_threads
from decodebench.core.measure.output.round_index import RoundIndex
from decodebench.core.records import raw_log
from decodebench.core.records.machine_load import is_busy
from decodebench.core.records.schema import Run

from ..waiting import until

SPIN = "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass"
QUIET = Condition(other_cpus=0.02, cores=4, load_average=3.0)
BUSY = Condition(other_cpus=2.6, cores=4, load_average=3.0, busiest=((2.5, "make", 17),))
POWER = Condition(other_cpus=0.0, cores=4, load_average=0.0, on_battery=True, governor="powersave")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these tests choose the CPU that they run on")


def spin(seconds: float) -> None:
    exec(SPIN.format(seconds), {})


@pytest.fixture
def one_cpu():
    """Put this process, and what it starts, on one CPU, so that nothing there is idle beside a loop."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_busy_time_is_what_is_neither_idle_nor_counted_twice():
    stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 20 30 5000 400 5 6 70 50 20\ncpu3 10 0 0 5000\nintr 12 0 cpu\n\nctxt 4\n"
    assert busy_seconds(stat, 100) == {0: pytest.approx(2.31), 3: pytest.approx(0.1)}


def test_our_own_work_and_that_of_ended_workers_is_not_others(one_cpu):
    watch, own, start = CpuWatch(), sum(os.times()[:4]), time.monotonic()
    spin(0.4)
    subprocess.run([sys.executable, "-c", SPIN.format(0.4)], check=True)
    ours, seconds = sum(os.times()[:4]) - own, time.monotonic() - start
    assert watch.other_cpus() <= max(0.0, 1 - ours / seconds) + 0.1


def test_the_work_of_others_is_seen_and_named(one_cpu):
    other = subprocess.Popen([sys.executable, "-c", SPIN.format(30)])
    try:
        until(lambda: psutil.Process(other.pid).cpu_times().user > 0, other)
        watch = CpuWatch()
        used = dict((process, cpus) for cpus, _, process in busiest_processes(0.8))
        assert used[other.pid] > 0
        assert watch.other_cpus() >= used[other.pid] - 0.1
        found = look([], 0.8)
        assert found.passing and found.busiest and found.cores == 1
    finally:
        other.kill()
        other.wait()


def test_the_work_of_a_server_of_ours_is_not_others(one_cpu):
    """It outlives rounds, and may have others work for it."""
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN.format(30)!r}])"
    server = subprocess.Popen([sys.executable, "-c", nested])
    until(lambda: psutil.Process(server.pid).children(), server)
    (worker,) = psutil.Process(server.pid).children()
    try:
        until(lambda: worker.cpu_times().user > 0, server)
        ours, others = CpuWatch(server.pid), CpuWatch()
        spin(0.8)
        assert others.other_cpus() - ours.other_cpus() > 0.2
    finally:
        worker.kill()
        server.wait()


def test_too_short_a_time_says_nothing():
    assert CpuWatch().other_cpus() is None


@pytest.mark.parametrize(
    ("others", "cores", "busy"),
    [(None, 4, False), (0.05, 1, False), (0.15, 1, True), (0.3, 2, True), (0.45, 64, False), (0.6, 64, True)],
)
def test_half_a_core_or_a_tenth_of_few_is_busy(others, cores, busy):
    assert is_busy(others, cores) is busy


def test_a_condition_names_what_passes_and_what_lasts():
    assert (QUIET.passing, QUIET.lasting, POWER.passing, len(POWER.lasting)) == ([], [], [], 2)
    (load,) = BUSY.passing
    assert "2.6" in load and "make (pid 17)" in load
    shared = Condition(0.0, 4, 0.0, device_processes={"cuda:0": 2, "cuda:1": 0}, temperature_c=99.6, is_hot=True)
    device, heat = shared.passing
    assert "cuda:0" in device and "100 degrees" in heat


class Machine:
    """Gives conditions in turn, the last one for ever, with a clock that only sleeping moves."""

    def __init__(self, *conditions: Condition) -> None:
        self.conditions, self.now, self.lines = list(conditions), 0.0, []

    def look(self) -> Condition:
        return self.conditions.pop(0) if len(self.conditions) > 1 else self.conditions[0]

    def settle(self, when_busy: WhenBusy) -> Condition:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return settle(self.look, when_busy, self.lines.append, clock=lambda: self.now, sleep=sleep)


@pytest.mark.parametrize(("condition", "lines"), [(QUIET, 0), (BUSY, 1), (POWER, 1)])
def test_a_busy_machine_is_one_line_and_an_idle_one_none(condition, lines):
    machine = Machine(condition)
    assert machine.settle(WhenBusy()) is condition
    assert len(machine.lines) == lines and machine.now == 0


def test_waiting_ends_when_the_machine_stays_idle_and_not_in_a_pause():
    machine = Machine(BUSY, QUIET, QUIET, BUSY, QUIET)
    assert machine.settle(WhenBusy(wait_s=600, refuses=True)) is QUIET
    assert machine.now == 12 and len(machine.lines) == 2


def test_waiting_has_a_limit_after_which_it_is_measured_or_refused():
    machine = Machine(BUSY)
    assert machine.settle(WhenBusy(wait_s=150)) is BUSY
    assert 150 <= machine.now < 153 and sum("still waiting" in line for line in machine.lines) == 2
    with pytest.raises(BusyError, match=r"make \(pid 17\)"):
        Machine(BUSY).settle(WhenBusy(wait_s=10, refuses=True))


def test_what_does_not_pass_is_refused_and_never_waited_for():
    machine = Machine(POWER)
    with pytest.raises(BusyError, match="battery.*powersave"):
        machine.settle(WhenBusy(wait_s=600, refuses=True))
    assert machine.now == 0


@pytest.mark.parametrize(
    ("others", "load", "cores", "threads"),
    [(0.02, 0.1, 8, 8), (2.6, 3.0, 8, 5), (2.6, 0.2, 8, 8), (0.1, 7.0, 8, 8), (None, 7.0, 8, 8), (2.0, 9.0, 2, 1)],
)
def test_threads_leave_room_for_load_that_lasts(others, load, cores, threads):
    assert threads_beside(Condition(others, cores, load)) == threads


def test_stored_thread_counts_are_those_of_the_first_round_whatever_the_host_is_called(tmp_path):
    def log(name: str, started_at: str, environment: object, experiment: str = "e") -> None:
        file = tmp_path / "raw" / "b" / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        head = {"type": "run", "experiment": experiment, "started_at": started_at, "environment": environment}
        file.write_text(json.dumps(head) + "\n", encoding="utf-8")

    assert stored_threads(RoundIndex(tmp_path), "e") is None
    log("a", "2026-01-02", {"hostname": "h", "cores_used": 8, "default_threads": 5})
    log("b", "2026-01-03", {"hostname": "another", "cores_used": 8, "default_threads": 7})
    log("d", "2026-01-01", {"hostname": "h", "default_threads": 2}, experiment="f")
    log("e", "2026-01-01", None)
    log("f", "2026-01-01", {"hostname": "h", "default_threads": "many"})
    assert stored_threads(RoundIndex(tmp_path), "e") == 5
    log("old", "2025-01-01", {"cores_used": 8})
    assert stored_threads(RoundIndex(tmp_path), "e") == 8


@pytest.mark.parametrize(
    ("flags", "waits_s"),
    [([], 0), (["--wait-idle"], 600), (["--wait-limit", "60"], 60), (["--wait-idle", "--wait-limit", "60"], 60)],
)
def test_a_limit_of_waiting_asks_for_waiting(flags, waits_s):
    found = []

    @click.command()
    @busy_options
    def command(**given):
        found.append(when_busy(given))

    command.main(flags, standalone_mode=False)
    assert found == [WhenBusy(waits_s)]


def runs(folder: Path) -> list[Run]:
    logs = (folder / "raw").glob("*/*.jsonl")
    return sorted((raw_log.read(log).run for log in logs), key=lambda run: run.started_at)


@pytest.mark.nightly
def test_threads_are_stored_with_the_rounds_and_the_same_when_an_experiment_goes_on(cli, tmp_path):
    command = ("run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", "1", "-o", tmp_path)
    assert cli(*command, "--rounds", "1").code == 0
    (first,) = runs(tmp_path)
    decided = first.environment.default_threads
    assert 1 <= decided <= first.environment.cores_used and first.settings["n_threads"] == str(decided)
    (log,) = (tmp_path / "raw").glob("*/*.jsonl")
    log.write_text(log.read_text().replace(f'"default_threads": {decided}', '"default_threads": 97'))
    ended = cli(*command, "--rounds", "2")
    assert ended.code == 0 and "97" in next(line for line in ended.err.splitlines() if "threads of each engine" in line)
    before, after = runs(tmp_path)
    assert before.environment.default_threads == after.environment.default_threads == 97
    assert after.settings["n_threads"] == "97" and after.cell_id == before.cell_id
    assert after.other_cpus is None or after.other_cpus >= 0


@pytest.mark.nightly
def test_waiting_can_be_interrupted_and_leaves_nothing_behind(cli, tmp_path):
    other = subprocess.Popen([sys.executable, "-c", SPIN.format(120)])
    try:
        command = ("run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "-o", tmp_path, "--wait-idle")
        process = cli.start(*command)
        assert "waiting for an idle machine" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
        assert not list((tmp_path / "raw").glob("*/*"))
    finally:
        other.kill()
        other.wait()


@pytest.mark.nightly
def test_strict_measures_nothing_beside_other_work(cli, tmp_path):
    others = [subprocess.Popen([sys.executable, "-c", SPIN.format(120)]) for _ in os.sched_getaffinity(0)]
    try:
        command = ("run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "-o", tmp_path, "--rounds", "1")
        refused = cli(*command, "--strict", "--wait-idle", "--wait-limit", "1")
        assert refused.code == 1 and "Traceback" not in refused.err
        assert not list((tmp_path / "raw").glob("*/*"))
        measured = cli(*command, "--samples", "1")
        assert measured.code == 0 and sum("machine is busy" in line for line in measured.err.splitlines()) == 1
        (seen,) = runs(tmp_path)
        assert seen.other_cpus > 0.1
    finally:
        for other in others:
            other.kill()
            other.wait()
