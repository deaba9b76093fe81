"""Programs that nobody has read: each harmful one ends as a failed sample within its limits and touches nothing."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import psutil
import pytest

from decodebench import UsageError
from decodebench.plugins.tasks import sandbox
from decodebench.plugins.tasks.sandbox import NO_CHECKS, Limits, Sandbox
from decodebench.plugins.tasks.scoring.code import code_blocks, cut_at, score_programs

from ...waiting import still_alive

LIMITS = Limits(wall_s=3.0)
_IN_LAUNCHER = "module.main(sys.argv[1:])"


@pytest.fixture(scope="module")
def holds():
    try:
        sandbox.check()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def run(holds):
    def ended(program, limits=LIMITS):
        begin = time.perf_counter()
        outcome = Sandbox(limits).run(program)
        assert time.perf_counter() - begin < limits.wall_s + 10
        return outcome

    return ended


@pytest.fixture(autouse=True, scope="module")
def orphans_come_here():
    """Linux gives orphans to the nearest ancestor that asks for them: nothing of a sandbox can leave this process."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)
    yield
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 0)


def sandboxed():
    """Every process of a sandbox that this process is the origin of; other tests have sandboxes, too."""
    return {p.pid for p in psutil.Process().children(recursive=True) if _IN_LAUNCHER in " ".join(_command(p))}


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return ()


def assert_gone(before):
    assert still_alive(sandboxed() - before, seconds=5) == [], "something of it goes on"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("while True: pass", "timeout: ran longer than 3 s"),
        ("import signal\nsignal.pause()", "timeout"),
        ("import os\nwhile True: os.fork()", "BlockingIOError"),
        ("import os\nwhile True:\n try: os.fork()\n except OSError: pass", "timeout"),
        ("import threading\nfor _ in range(99): threading.Thread(target=threading.Event().wait, args=(9,)).start()",
        "thread"),
        ("import subprocess\nsubprocess.run(['/bin/true'])", "Error"),
        ("x = bytearray(10 * 10**9)", "MemoryError"),
        ("x = []\nwhile True: x.append('a' * 10**8)", "MemoryError|timeout"),
        ("def f(n): return f(n + 1)\nf(0)", "RecursionError"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 53), 2)", "not supported"),
        ("import urllib.request\nurllib.request.urlopen('http://example.com', timeout=2)", "Error"),
        ("open('/tmp/x', 'w').write('x' * 10**7)", "File too large"),
        ("for i in range(99): open(f'/tmp/{i}', 'w').write('x' * 10**6)", "No space left"),
        ("open('/x', 'w')", "Read-only"),
        ("open('/dev/shm/x', 'w')", "No such file"),
        ("import os\nopen(os.__file__, 'a')", "Read-only|Permission denied"),
        ("import os\nos._exit(0)", "ended early with code 0"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("import os\nos.kill(os.getpid(), 9)", "SIGKILL"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "ValueError"),
        ("import os\nos.setuid(0)", "Error"),
        ("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0, 'no further namespace'",
        "no further namespace"),
        ("assert 1 + 1 == 3, 'not so'", "AssertionError: not so"),
        ("def f(:", "SyntaxError"),
        ("import numpy", "ModuleNotFoundError"),
        ("print(open('/etc/passwd').read())", "FileNotFoundError"),
        ("'\0'", "SyntaxError|ValueError|passed"),
    ],
)  # fmt: skip
def test_harm_ends_as_a_failed_sample(run, program, reason):
    before = sandboxed()
    outcome = run(program)
    assert any(part in outcome.reason for part in reason.split("|")), outcome
    assert outcome.is_ok == (outcome.reason == "passed") and len(outcome.reason) < 400
    assert_gone(before)


def test_nothing_outside_can_be_read_or_removed(run, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("do not touch")
    os.environ["DECODEBENCH_SECRET"] = "a token"
    try:
        for path in (secret, Path(__file__), Path.home() / ".bashrc"):
            assert not run(f"import os\nos.remove({str(path)!r})").is_ok
            assert "FileNotFoundError" in run(f"open({str(path)!r})").reason
        assert not run(f"import shutil\nshutil.rmtree({str(tmp_path)!r})").is_ok
        assert run("import os\nassert not [n for n in os.environ if 'SECRET' in n]").is_ok
    finally:
        del os.environ["DECODEBENCH_SECRET"]
    assert secret.read_text() == "do not touch"


def test_a_server_of_this_machine_cannot_be_reached(run):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        assert not run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)").is_ok
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_other_process_can_be_seen_or_ended(run):
    with subprocess.Popen(["sleep", "60"]) as other:
        outcome = run(
            "import os\nassert os.listdir('/proc') == ['self'] and os.listdir('/proc/self') == ['exe']\n"
            f"try: os.kill({other.pid}, 9)\nexcept OSError: pass\n"
            "try: os.kill(-1, 9)\nexcept OSError: pass"
        )
        assert outcome.is_ok or "SIGKILL" in outcome.reason or "ended early" in outcome.reason, outcome
        assert other.poll() is None
        other.kill()


def test_honest_programs_pass_and_have_the_standard_library_and_a_folder(run):
    modules = "bisect collections ctypes datetime decimal functools hashlib heapq itertools json math random re sqlite3"
    assert run(f"import {', '.join(modules.split())}").is_ok
    assert run("open('/tmp/own', 'w').write('x')\nassert open('/tmp/own').read() == 'x'").is_ok
    assert run("print('a' * 10**6)\nimport sys\nsys.stderr.write('b' * 10**6)").is_ok
    assert run("if __name__ == '__main__':\n    assert hash('a') == hash('a')").is_ok


def test_programs_run_side_by_side_and_come_back_in_order(holds):
    programs = [
        f"import time\nwhile time.process_time() < {0.4 if i % 2 else 0.0}: pass\nassert {i} % 3" for i in range(12)
    ]
    scores = list(score_programs(((program, NO_CHECKS) for program in programs), LIMITS))
    assert [score.value for score in scores] == [float(i % 3 != 0) for i in range(12)]
    assert scores[0].extracted == "AssertionError" and scores[1].extracted == "passed"


def test_programs_are_taken_as_they_are_needed_and_ended_with_their_reader(holds):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield "pass" if len(taken) < 2 else "import signal\nsignal.pause()", NO_CHECKS

    before, scores = sandboxed(), score_programs(endless(), Limits(wall_s=30))
    assert next(scores).value == 1.0
    assert len(taken) <= 40
    begin = time.perf_counter()
    scores.close()
    assert time.perf_counter() - begin < 10
    assert_gone(before)


def test_stopping_ends_what_runs(holds):
    one = Sandbox(Limits(wall_s=60))
    timer = threading.Timer(0.5, one.stop)
    timer.start()
    begin = time.perf_counter()
    assert not one.run("while True: pass").is_ok
    assert time.perf_counter() - begin < 20
    assert one.run("pass").reason == "not run: stopped"


def test_it_holds_for_a_user_who_is_not_root():
    """Most users are not: the sandbox is entered in another way. Tried with the system's Python, which all may run."""
    python = Path("/usr/bin/python3")
    version = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if os.geteuid() != 0 or not python.exists() or subprocess.run([python, "-c", version]).returncode:
        pytest.skip("needs root, who becomes another, and a Python of this version in /usr/bin")
    code = (
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        "from decodebench.plugins.tasks.sandbox import Checks, Sandbox, check\ncheck()\n"
        "assert Sandbox().run('def f(x): return [x]', Checks('assert f(1) == [1]')).reason == 'passed'\n"
        "assert Sandbox().run('import os\\nos.listdir(\"/proc/1\")').reason.startswith('FileNotFoundError')"
    )
    entered = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", python, "-B", "-c", code]
    ended = subprocess.run(
        entered, capture_output=True, text=True, cwd="/", env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    )
    assert ended.returncode == 0, ended.stderr


def test_without_bubblewrap_it_says_what_to_install(monkeypatch):
    sandbox.check.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="`bwrap` is not installed: apt-get install bubblewrap"):
        sandbox.check()


def test_a_sandbox_that_does_not_hold_is_refused(monkeypatch, tmp_path):
    sandbox.check.cache_clear()
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match="a trial of it failed here: ended early"):
        sandbox.check()
    sandbox.check.cache_clear()


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```python\nx = 1\n```", ["x = 1\n"]),
        ("Here:\n```\na\n```\nand\n```py\nb\n```\n", ["a\n", "b\n"]),
        ("```python\ncut by the limit", ["cut by the limit"]),
        ("no block", []),
        ("  ```Python\n  x\n  ```", ["  x\n"]),
    ],
)
def test_fenced_blocks(text, blocks):
    assert code_blocks(text) == blocks


def test_cutting_at_the_first_marker():
    assert cut_at("a\nclass B\ndef c", ("\ndef ", "\nclass ")) == "a"
    assert cut_at("abc", ("\ndef ",)) == "abc"
