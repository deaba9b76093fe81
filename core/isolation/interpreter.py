"""Another interpreter, which is asked about the plugins of its environment through one process that stays."""

from __future__ import annotations

import atexit
import json
import select
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...core import errors
from ..errors import PluginError
from . import worker_part

_TIMEOUT_S = 60.0

_DIAGNOSIS = f"""
import importlib.util, json, sys
missing = [name for name in {worker_part.MODULES!r} if importlib.util.find_spec(name) is None]
print(json.dumps([list(sys.version_info[:2]), missing]))
"""
_MODULE = "decodebench.core.isolation.consultation"


class Interpreter:
    """One interpreter; ``interpreter_at`` is the way to get it.

    Args:
        python: its path.
    """

    def __init__(self, python: Path) -> None:
        self.python = python
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: str, **content: Any) -> Any:  # noqa: ANN401 - JSON
        """Ask one question; see ``consultation`` for what there is to ask.

        Raises:
            DecodebenchError: the answer is an error, which keeps its class.
            PluginError: the interpreter is not there, is too old, lacks packages, or does not answer.
        """
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"ask": question, **content}) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], _TIMEOUT_S)
            line = self._process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            late = f"{self.python} gave no answer within {_TIMEOUT_S:.0f} s"
            raise PluginError(late if line is None else self._diagnosis())
        return _answer(json.loads(line))

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass

    def _start(self) -> subprocess.Popen[str]:
        atexit.register(self.close)
        try:
            return subprocess.Popen(
                [str(self.python), "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=worker_part.environment(),
                text=True,
                encoding="utf-8",
                start_new_session=True,  # the terminal's Ctrl-C goes to the parent alone
            )
        except OSError as error:
            raise PluginError(f"{self.python}: {error.strerror}; give the path of an interpreter") from error

    def _diagnosis(self) -> str:
        """Say why the process ended without an answer."""
        found = self._run("-c", _DIAGNOSIS)
        if found.returncode != 0:
            return f"{self.python} does not run as Python: {_last_line(found.stderr)}"
        version, missing = json.loads(found.stdout)
        if tuple(version) < (3, 11):
            return f"{self.python} is Python {version[0]}.{version[1]}; decodebench's workers need 3.11 or later"
        if missing:
            wanted = " ".join(f"'{text}'" for text in worker_part.requirements())
            return f"{self.python} lacks {', '.join(missing)}; run {self.python} -m pip install {wanted}"
        return f"{self.python}: {_last_line(self._run('-c', f'import {_MODULE}').stderr) or 'it ended by itself'}"

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *arguments]
        environment = worker_part.environment()
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False)


@cache
def interpreter_at(python: Path) -> Interpreter:
    """Return the interpreter with this path, the same each time."""
    return Interpreter(python)


def _answer(line: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if line["type"] == "answer":
        return line["answer"]
    kind = getattr(errors, line["kind"], PluginError)
    raise kind(line["text"])


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
