"""Running an answer and its tests in a sandbox, within limits, and what came of it."""

from __future__ import annotations

import json
import marshal
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .bubblewrap import command
from .inside.judge import ONE_PROCESS
from .limits import LIMITS, Limits
from .seccomp import filter_program

_INSIDE = ("values", "wire", "reason", "answer", "judge", "launcher")  # in the order in which they import each other
_IMPORT = re.compile(r"^(?:import|from)[ \t]+(\w+)", re.MULTILINE)
_GRACE_S = 5.0
_LONGEST_VERDICT = 8192
_LONGEST_WORDS = 4096


@dataclass(frozen=True, slots=True)
class Checks:
    """What judges an answer.

    Attributes:
        source: a program that raises where a test fails; names that neither it nor Python defines are the answer's.
        functions: names that are the answer's whatever Python has under them, such as a function called ``sum``.
        classes: the same of classes, of which the tests make objects.
    """

    source: str = ""
    functions: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


NO_CHECKS = Checks()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer did.

    Attributes:
        is_ok: it ran to its end without an exception, and so did its tests.
        reason: ``"passed"``, with what makes that weaker; or what went wrong in a few words.
    """

    is_ok: bool
    reason: str


class Sandbox:
    """Runs answers, several at once if asked from several threads; ``stop`` ends those that run.

    Args:
        limits: for each answer.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, answer: str, tests: Checks = NO_CHECKS) -> Outcome:
        """Run an answer and, in a process of their own, its tests, to their end or their limits.

        Without tests it is the answer's own word that it ran to its end. The same holds where tests need objects in
        their own process, and the outcome says so.

        Raises:
            OSError: the sandbox itself cannot be started.
        """
        outcome, weakness = self._judged(answer, tests)
        if weakness == ONE_PROCESS:
            outcome, _ = self._judged(f"{answer}\n\n{tests.source}\n", NO_CHECKS)
        return Outcome(True, f"passed, {weakness}") if outcome.is_ok and weakness else outcome

    def _judged(self, answer: str, tests: Checks) -> tuple[Outcome, str]:
        with ExitStack() as open_files, tempfile.TemporaryFile() as words:
            inside = _filled(_inside() + marshal.dumps(_shared(tests)) + marshal.dumps(answer), open_files)
            content = _filled(marshal.dumps((tests.source, tests.functions, tests.classes)), open_files)
            seccomp = _filled(filter_program(platform.machine()), open_files)
            verdict, its_end = os.pipe()
            open_files.callback(os.close, verdict)
            try:
                process = self._started(inside, (seccomp, content, its_end), words.fileno())
            finally:
                os.close(its_end)
            if process is None:
                return Outcome(False, "not run: stopped"), ""
            try:
                said = _read(verdict, self.limits.wall_s)
                code = process.wait(_GRACE_S) if said == b"" else 0
            except subprocess.TimeoutExpired:
                code = -signal.SIGKILL
            finally:
                self._end(process)
            if said is None:
                return Outcome(False, f"timeout: ran longer than {self.limits.wall_s:g} s"), ""
            if said:
                error, weakness = json.loads(said)
                return Outcome(error is None, "passed" if error is None else _printable(error)), weakness
            words.seek(0)
            return Outcome(False, _ending(code, words.read(_LONGEST_WORDS))), ""

    def _started(self, inside: int, others: tuple[int, int, int], words: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._is_stopped:
                return None
            process = subprocess.Popen(
                command(self.limits, *others),
                stdin=inside,
                stdout=words,
                stderr=subprocess.STDOUT,
                pass_fds=others,
                env={},
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
        """End every answer that runs and start no other."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.kill()


@cache
def _inside() -> bytes:
    """Return the launcher's modules, compiled by the interpreter that will load them."""
    folder = Path(__file__).parent / "inside"
    sources = {"inside": folder / "__init__.py"} | {f"inside.{name}": folder / f"{name}.py" for name in _INSIDE}
    return marshal.dumps(
        [(name, compile(path.read_text(encoding="utf-8"), name, "exec")) for name, path in sources.items()]
    )


def _shared(tests: Checks) -> list[str]:
    """Return the modules of the standard library that the tests import: most answers to them do, too."""
    return [name for name in _IMPORT.findall(tests.source) if name in sys.stdlib_module_names]


def _filled(data: bytes, open_files: ExitStack) -> int:
    """Return the file descriptor of a file in memory that holds ``data``, from its beginning."""
    descriptor = os.memfd_create("sandbox")
    open_files.callback(os.close, descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read(verdict: int, limit_s: float) -> bytes | None:
    """Return what the judge says; empty where it ends without a word, None where it takes too long."""
    ready = select.poll()
    ready.register(verdict, select.POLLIN)
    return os.read(verdict, _LONGEST_VERDICT) if ready.poll(limit_s * 1000) else None


def _ending(code: int, words: bytes) -> str:
    if code > 128 and (code - 128) in set(signal.Signals):
        return f"killed: {signal.Signals(code - 128).name}"
    last = next((line for line in reversed(words.decode("utf-8", "replace").splitlines()) if line.strip()), "")
    return f"ended early with code {code}" + (f": {_printable(last[:200])}" if last else "")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
