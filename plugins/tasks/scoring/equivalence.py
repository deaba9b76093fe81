r"""Math equivalence: the answer and the reference are one mathematical object, however each is written.

Three steps, the dearest last: both are plain numbers and their values decide; both are the same LaTeX once spacing and
sizes are taken off; else the library math-verify decides with sympy. The library runs in a process of its own with a
time limit per answer, because sympy may take for ever or all memory over a few characters; that process is replaced
when it overruns, and the answer counts as wrong.
"""

from __future__ import annotations

import atexit
import json
import re
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec

from .... import DecodebenchError, UsageError
from ....core.contract.task import Score
from ....core.sdk.answers import boxed, same_number

LIMIT_S = 5.0
START_S = 60.0
_REMEMBERED = 4096
_LONGEST = 2000  # characters of an answer; longer ones are no answer but a text

_PHRASE = re.compile(r"(?:final )?answer(?: is)?\s*[:=]?\s*(.+)", re.IGNORECASE)
_INLINE = re.compile(r"(?<!\\)\$\$?((?:\\.|[^$\\])+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_PLAIN_NUMBER = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?(?<=[0-9])")
_PLAIN_FRACTION = re.compile(r"(-?)\\frac\{([0-9]+)\}\{([0-9]+)\}")
_SPACES = re.compile(r"\\[,;:! ]|\\q?quad|~|\s+")
_SHORT_FRACTION = re.compile(r"\\frac([0-9])([0-9])")
_SHORT_ROOT = re.compile(r"\\sqrt([0-9])")
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox)\{([^{}]*)\}")


def check() -> None:
    """Refuse where math-verify is not installed.

    Raises:
        UsageError: names the command that installs it.
    """
    if find_spec("math_verify") is None:
        raise UsageError(
            "scoring mathematics needs math-verify: pip install 'decodebench[tasks]'", code="package-missing"
        )


def final_expression(text: str) -> str | None:
    r"""Return what a text gives as its answer, as LaTeX; None where nothing looks like one.

    That is the content of the last ``\boxed{}``; without one, what follows ``####`` or the last "answer is"; without
    one, the last formula between dollar signs; without one, the last line where it is short.
    """
    found = boxed(text)
    if found is None and "####" in text:
        found = text.split("####", 1)[1].strip().split("\n", 1)[0]
    if found is None:
        phrases = _PHRASE.findall(text[-_LONGEST:])
        found = phrases[-1] if phrases else None
        formulas = _INLINE.findall(found if found is not None else text[-_LONGEST:])
        if formulas:
            found = next(part for part in formulas[-1] if part)
    if found is None:
        last = text.strip().rsplit("\n", 1)[-1]
        found = last if len(last) <= 60 else None
    found = found.strip().rstrip(".").strip() if found is not None else None
    return found if found and len(found) <= _LONGEST else None


def score_equivalence(text: str, reference: str) -> Score:
    """Give 1 where the expression of ``text`` equals ``reference`` mathematically, else 0.

    Raises:
        DecodebenchError: the process that compares cannot be started.
    """
    found = final_expression(text)
    if found is None:
        return Score(0.0, None)
    return Score(float(equivalent(found, reference.strip())), found)


@lru_cache(maxsize=_REMEMBERED)
def equivalent(found: str, reference: str) -> bool:
    """Whether two expressions are one; the cheap ways first."""
    ours, theirs = normalised(found), normalised(reference)
    if ours == theirs:
        return True
    numbers = _number(ours), _number(theirs)
    if None not in numbers:
        return same_number(numbers[0], str(numbers[1]))
    return _judge.verdict(found, reference)


def normalised(latex: str) -> str:
    """Take off what does not change the meaning: spaces, sizes of brackets, text marks, units of angle and money."""
    latex = latex.strip().strip("$").strip()
    latex = latex.replace("\\left", "").replace("\\right", "").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    latex = _TEXT.sub(r"\1", latex)
    latex = latex.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\degree", "").replace("\\$", "")
    latex = _SPACES.sub("", latex).replace("\u2212", "-").replace("{,}", ",")
    return _SHORT_ROOT.sub(r"\\sqrt{\1}", _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", latex))


def _number(latex: str) -> str | None:
    if _PLAIN_NUMBER.fullmatch(latex):
        return latex.replace(",", "")
    fraction = _PLAIN_FRACTION.fullmatch(latex)
    return f"{fraction[1]}{fraction[2]}/{fraction[3]}" if fraction and int(fraction[3][:99]) else None


class Judge:
    """The process in which math-verify runs: started when it is first asked, replaced when it overruns.

    Args:
        limit_s: time for one comparison.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def verdict(self, found: str, reference: str) -> bool:
        """Ask whether two expressions are one; False where the answer takes too long or ends the process."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps([found, reference]).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self.stop()
            return False
        with self._stopped_on_interrupt():
            line = self._line(self.limit_s)
        if not line:
            self.stop()
            return False
        return line == b"true\n"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", f"{__package__}.equivalence_process"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which ends it
            )
            with self._stopped_on_interrupt():
                line = self._line(START_S)
            if line != b"ready\n":
                self.stop()
                raise DecodebenchError(
                    "math-verify cannot be loaded: pip install 'decodebench[tasks]'", code="package-missing"
                )
        return self._process

    def _line(self, limit_s: float) -> bytes:
        """Return the next line that the process writes; empty where none comes in time."""
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline() if ready.select(limit_s) else b""

    @contextmanager
    def _stopped_on_interrupt(self) -> Iterator[None]:
        """Leave no half-read answer behind for the next question."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_judge = Judge()
atexit.register(_judge.stop)
