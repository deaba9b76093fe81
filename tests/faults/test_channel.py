"""What a parent reads of a worker: any line in linear time up to a limit, never beyond the deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from decodebench import defaults
from decodebench.core.isolation.processes.channel import Channel, DeadlineError
from decodebench.core.isolation.processes.messages import parse
from decodebench.core.records.log_content import LineError

from .processes import MARK, all_gone, left_behind

FAR = 60.0


class Started:
    """A channel to a Python program."""

    def __init__(self, program, mark="-"):
        environment = {**os.environ, MARK: mark}
        self.channel = Channel([sys.executable, "-c", program], environment, subprocess.DEVNULL)

    def __enter__(self):
        return self.channel

    def __exit__(self, *_):
        self.channel.end()


def lines(channel, seconds=FAR):
    deadline = time.monotonic() + seconds
    return list(iter(lambda: channel.next_line(deadline), None))


def test_lines_come_whole_however_they_are_cut():
    program = "import os\nfor byte in b'one\\n\\ntwo\\nthree': os.write(1, bytes([byte]))"
    with Started(program) as channel:
        assert lines(channel) == [b"one", b"", b"two"]
        assert channel.exit_code() == 0


def test_the_time_of_a_long_line_grows_with_its_length():
    """Linear: eight times the bytes take at most some sixteen times the time; a copy for each piece takes 64 times."""
    took = {}
    for size in (2**22, 2**25):
        with Started(
            f"import os\nfor _ in range({size // 2**12}): os.write(1, b'x' * {2**12})\nos.write(1, b'\\n')"
        ) as channel:
            began = time.process_time()
            (line,) = lines(channel)
            took[size] = time.process_time() - began
            assert len(line) == size
    assert took[2**25] < 16 * took[2**22] + 0.5


def test_a_line_without_end_is_refused_at_the_limit(monkeypatch):
    monkeypatch.setattr(defaults, "WORKER_LINE_BYTES", 2**20)
    with (
        Started("import os\nwhile True: os.write(1, b'x' * 65536)") as channel,
        pytest.raises(LineError, match=r"1\.0 MiB"),
    ):
        lines(channel)


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(600)",
        "import os\nwhile True: os.write(1, b'line\\n' * 5000)",
        "import os\nwhile True: os.write(1, b'x')",
    ],
    ids=["silent", "flood of lines", "byte by byte"],
)
def test_the_deadline_holds_whatever_comes(program):
    began = time.monotonic()
    with Started(program) as channel, pytest.raises(DeadlineError):
        lines(channel, seconds=1.0)
    assert time.monotonic() - began < 10


def test_what_was_there_at_the_deadline_is_handed_out_first():
    """Lines that were read with another one, and those that still are in the pipe."""
    program = "import os, time\nos.write(1, b'1\\n2\\n3\\n')\ntime.sleep(0.5)\nos.write(1, b'4\\n5')\ntime.sleep(600)"
    with Started(program) as channel:
        deadline = time.monotonic() + 10
        assert channel.next_line(deadline) == b"1"
        time.sleep(1.5)
        over = time.monotonic() - 0.1
        assert [channel.next_line(over) for _ in range(3)] == [b"2", b"3", b"4"]
        with pytest.raises(DeadlineError):
            channel.next_line(over)


def test_a_worker_that_does_not_listen_holds_nobody_up():
    with Started("import time; time.sleep(600)") as channel:
        channel.send(b"x" * 2**24)
        with pytest.raises(DeadlineError):
            channel.next_line(time.monotonic() + 0.5)


def test_a_long_job_arrives_whole():
    with Started("import sys; line = sys.stdin.buffer.readline(); print(len(line))") as channel:
        channel.send(b"x" * 2**24)
        assert lines(channel) == [str(2**24 + 1).encode()]


def test_a_crash_is_noticed_although_a_child_holds_the_pipe():
    program = "import os, time\nif os.fork() == 0: time.sleep(600)\nprint('said', flush=True); os._exit(5)"
    began = time.monotonic()
    with Started(program) as channel:
        assert lines(channel) == [b"said"]
        assert channel.exit_code() == 5
    assert time.monotonic() - began < 10


@pytest.mark.nightly
def test_a_worker_that_closes_its_pipe_and_lives_on_is_ended(tmp_path):
    with Started("import os, time; os.close(1); time.sleep(600)", str(tmp_path)) as channel:
        assert lines(channel) == [] and channel.exit_code() is None
    assert all_gone(tmp_path)


@pytest.mark.parametrize("code", [0, 3, 255, -6, -9, -15, -40])
def test_how_it_ended_is_passed_on(code):
    end = f"os._exit({code})" if code >= 0 else f"os.kill(os.getpid(), {-code})"
    with Started(f"import os; {end}") as channel:
        assert lines(channel) == [] and channel.exit_code() == code


def test_a_command_that_is_not_there_says_so(tmp_path):
    with (tmp_path / "text").open("wb") as text:
        channel = Channel(["/nonexistent/python"], os.environ, text)
        assert lines(channel) == [] and channel.exit_code() == 127
        channel.end()
    assert (tmp_path / "text").read_text() == "cannot start /nonexistent/python: No such file or directory\n"


@pytest.mark.parametrize("raw", [b"", b"banner", b"[1]", b"1", b'{"a": 1}', b'{"type": 1}', b"\xff", b"[" * 10**5])
def test_what_is_no_message_is_refused(raw):
    with pytest.raises(LineError, match="unknown message"):
        parse(raw)


DAEMON = """
import os, sys, time
ready, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    for number in range(1, 65):
        try: __import__("signal").signal(number, 1)
        except (OSError, ValueError): pass
    if os.fork() == 0:
        print("there", flush=True)
        os.write(told, b"12")  # a byte for each of the two that wait
        time.sleep(600)
os.read(ready, 1)
time.sleep({seconds})
"""


@pytest.mark.parametrize("seconds", [0, 600])
def test_nothing_that_a_worker_started_outlives_it(tmp_path, seconds):
    """Forked twice, in a session of its own, deaf to signals; its parent has ended, or is ended."""
    with Started(DAEMON.format(seconds=seconds), str(tmp_path)) as channel:
        assert channel.next_line(time.monotonic() + FAR) == b"there"
        if not seconds:
            assert channel.next_line(time.monotonic() + FAR) is None
    assert left_behind(tmp_path) == []


def test_a_worker_that_kills_its_keeper_dies_with_its_children(tmp_path):
    program = "import os, time\nif os.fork() == 0: time.sleep(600)\nos.kill(os.getppid(), 9)\ntime.sleep(600)"
    with Started(program, str(tmp_path)) as channel:
        assert lines(channel) == [] and channel.exit_code() == -9
    assert all_gone(tmp_path)


PARENT = """
import os, signal, subprocess, sys
from decodebench.core.isolation.processes.channel import Channel
channel = Channel([sys.executable, "-c", {program!r}], os.environ, subprocess.DEVNULL)
if {waits}: channel.next_line(float("inf"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("waits", [True, False], ids=["at work", "before it has begun"])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path, waits):
    program = PARENT.format(program=DAEMON.format(seconds=600), waits=waits)
    ended = subprocess.run([sys.executable, "-c", program], env={**os.environ, MARK: str(tmp_path)}, timeout=FAR)
    assert ended.returncode == -9
    assert all_gone(tmp_path)
