"""Running a Python program that nobody has read: in bubblewrap, without network, with limits on everything.

The program sees the interpreter and the libraries that it is linked with, read-only; an empty ``/tmp`` of its own in
memory; no network; no process but its own; no variable, no site packages. It may take so much time, memory, processes
and file size and no more, cannot gain rights, and dies with this process. What it prints is dropped.

The limit on processes is counted per user, and Linux exempts root from it: where this process runs as root, the
sandbox is entered as ``nobody``. Whether all of that holds on this machine is tried, not assumed (``check``).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ... import UsageError

_NOBODY = 65534
_LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
_PASSABLE = Path("/mnt")
_GRACE_S = 5.0
_INSTALL = "apt-get install bubblewrap (0.8 or later)"
_LONGEST_REPORT = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take.

    Attributes:
        wall_s: time from its start to its end, the sandbox's own included.
        cpu_s: processor time.
        memory_bytes: address space of each process.
        processes: processes and threads at once, that of the sandbox included.
        file_bytes: size of each file that it writes.
        tmp_bytes: of all files in ``/tmp``.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 2**30
    processes: int = 4
    file_bytes: int = 2**20
    tmp_bytes: int = 32 * 2**20


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
        is_ok: it ran to its end without an exception.
        reason: ``"passed"``, or what went wrong in a few words.
    """

    is_ok: bool
    reason: str


class Sandbox:
    """Runs programs, several at once if asked from several threads; ``stop`` ends those that run.

    Args:
        limits: for each program.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, program: str) -> Outcome:
        """Run a program to its end or its limits.

        Raises:
            OSError: the sandbox itself cannot be started.
        """
        # A program that ends the process early has not passed: only the launcher knows what to say in the end.
        word = secrets.token_hex(16)
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as report:
            source.write(f"{word}\n".encode() + program.encode("utf-8", "surrogatepass"))
            source.seek(0)
            process = self._started(source.fileno(), report.fileno())
            if process is None:
                return Outcome(False, "not run: stopped")
            try:
                code = process.wait(self.limits.wall_s)
            except subprocess.TimeoutExpired:
                return Outcome(False, f"timeout: ran longer than {self.limits.wall_s:g} s")
            finally:
                self._end(process)
            report.seek(0)
            return _judged(report.read(_LONGEST_REPORT), word, code)

    def _started(self, source: int, report: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._is_stopped:
                return None
            process = subprocess.Popen(
                _command(self.limits),
                stdin=source,
                stdout=report,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left; the sandbox's processes die with its first one."""
        process.kill()
        process.wait(_GRACE_S)
        with self._lock:
            self._running.discard(process)

    def stop(self) -> None:
        """End every program that runs and start no other."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.kill()


def _judged(report: bytes, word: str, code: int) -> Outcome:
    lines = report.decode("utf-8", "replace").splitlines()
    for line in lines:
        if line.startswith(word):
            error = json.loads(line.removeprefix(word))
            return Outcome(error is None, "passed" if error is None else error)
    if code > 128 and (code - 128) in set(signal.Signals):
        return Outcome(False, f"killed: {signal.Signals(code - 128).name}")
    said = next((line for line in reversed(lines) if line.strip()), "")
    return Outcome(False, f"ended early with code {code}" + (f": {said[:200]}" if said else ""))


def _command(limits: Limits) -> list[str]:
    command = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--disable-userns"]
    command += ["--new-session", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    command += ["--uid", str(_NOBODY), "--gid", str(_NOBODY)]
    for name, value in {"PATH": "/usr/bin", "HOME": "/tmp", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}.items():
        command += ["--setenv", name, value]
    place = _place_for_nobody() if _as_root() else None
    for path in _needed():
        moved = _PASSABLE / path.relative_to(place) if place and path.is_relative_to(place) else path
        command += ["--ro-bind", str(moved), str(path)]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.tmp_bytes), "--tmpfs", "/tmp"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    figures = (limits.cpu_s, limits.memory_bytes, limits.processes, limits.file_bytes)
    command += [str(_interpreter()), "-I", "-S", "-B", "-c", _LAUNCHER.read_text(encoding="utf-8"), *map(str, figures)]
    return [*_entrance(place), *command] if _as_root() else command


def _as_root() -> bool:
    return os.geteuid() == 0


def _entrance(place: Path | None) -> list[str]:
    """Return what root runs before bubblewrap: it becomes nobody, who is shown the interpreter's folder."""
    become = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    if place is None:
        return become
    show = f'mount --bind "$1" {_PASSABLE} && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", show, "sh", str(place), *become]


def _place_for_nobody() -> Path | None:
    """Return the interpreter's folder where it lies behind one that nobody may not enter, such as ``/root``."""
    base = Path(sys.base_prefix).resolve()
    is_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in (base, *base.parents))
    return None if is_open else base


def _interpreter() -> Path:
    return Path(sys.executable).resolve()


@cache
def _needed() -> tuple[Path, ...]:
    """Return what the interpreter needs: its own files, and the folders of the libraries that are mapped into it."""
    base = Path(sys.base_prefix).resolve() / "lib"
    found = {_interpreter(), Path(os.__file__).resolve().parent, *base.glob("libpython*.so*"), *_libraries()}
    found |= {loader for folder in ("lib", "lib64") for loader in Path("/", folder).glob("ld-*.so*")}
    return tuple(sorted(found, key=lambda path: len(path.parts)))


def _libraries() -> Iterator[Path]:
    """Yield the folders of the system's libraries in use; modules of the standard library need no others."""
    maps = Path("/proc/self/maps")
    paths = re.findall(r"(/\S+\.so[.0-9]*)$", maps.read_text(), re.MULTILINE) if maps.exists() else []
    for folder in {Path(path).parent for path in paths}:
        if folder.parts[1:2] in (("lib",), ("lib64",)) or folder.parts[1:3] in (("usr", "lib"), ("usr", "lib64")):
            yield folder


_TRIAL = """
import os, socket, threading
for path in ("/tmp/own", "/dev/shm/x", "/x", os.__file__):
    try:
        open(path, "a").close()
        written = True
    except OSError:
        written = False
    assert written == (path == "/tmp/own"), f"{path} can{'' if written else 'not'} be written to"
try:
    socket.create_connection(("192.0.2.1", 9), 0.2)
    raise AssertionError("the network can be reached")
except OSError:
    pass
started = 0
try:
    for started in range(64):
        if os.fork() == 0:
            import time
            time.sleep(9)
except OSError:
    pass
assert started < 32, "processes are not limited"
try:
    bytearray(4 * 2**30)
    raise AssertionError("memory is not limited")
except MemoryError:
    pass
"""


@cache
def check() -> None:
    """Refuse where programs cannot be shut in: run one that tries to get out.

    Raises:
        UsageError: says what is missing, what failed and what to do.
    """
    why = "code of a model is run in bubblewrap or not at all"
    if sys.platform != "linux":
        raise UsageError(f"{why}, and that needs Linux; this is {sys.platform}")
    if shutil.which("bwrap") is None:
        raise UsageError(f"{why}, and `bwrap` is not installed: {_INSTALL}")
    try:
        outcome = Sandbox().run(_TRIAL)
    except OSError as error:
        raise UsageError(f"{why}, and it cannot be started here: {error}; {_INSTALL}") from error
    if not outcome.is_ok:
        raise UsageError(
            f"{why}, and a trial of it failed here: {outcome.reason}\n"
            "it needs user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0; in a "
            f"container the right to make them) and {_INSTALL}"
        )
