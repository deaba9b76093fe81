"""Another interpreter, which is asked about the plugins of its environment through one process that stays."""

from __future__ import annotations

import atexit
import json
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import PluginError
from ..records.log_content import LineError
from . import worker_part
from .processes.channel import Channel, DeadlineError
from .processes.messages import parse

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
        self._channel: Channel | None = None

    def ask(self, question: str, **content: Any) -> Any:  # noqa: ANN401 - JSON
        """Ask one question; see ``consultation`` for what there is to ask.

        Raises:
            DecodebenchError: the answer is an error, which keeps its class.
            PluginError: the interpreter is not there, is too old, lacks packages, or does not answer.
        """
        if self._channel is None:
            self._channel = self._start()
        self._channel.send(json.dumps({"ask": question, **content}).encode())
        try:
            raw = self._channel.next_line(time.monotonic() + _TIMEOUT_S)
            if raw is not None:
                return _answer(parse(raw))
        except DeadlineError as error:
            self.close()
            raise PluginError(f"{self.python} gave no answer within {_TIMEOUT_S:.0f} s", code="no-answer") from error
        except LineError as error:
            self.close()
            raise PluginError(f"{self.python} answered with {error}") from error
        self.close()
        raise PluginError(self._diagnosis())

    def close(self) -> None:
        """End the process."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.end()

    def _start(self) -> Channel:
        atexit.register(self.close)
        try:
            return Channel([str(self.python), "-m", _MODULE], worker_part.environment(self.python), subprocess.DEVNULL)
        except OSError as error:
            raise PluginError(f"{self.python}: no process can be started: {error.strerror}") from error

    def _diagnosis(self) -> str:
        """Say why the process ended without an answer."""
        try:
            found = self._run("-c", _DIAGNOSIS)
        except OSError as error:
            return f"{self.python}: {error.strerror}; give the path of an interpreter"
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
        environment = worker_part.environment(self.python)
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False)


@cache
def interpreter_at(python: Path) -> Interpreter:
    """Return the interpreter with this path, the same each time."""
    return Interpreter(python)


def _answer(line: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    match line:
        case {"type": "answer", "answer": answer}:
            return answer
        case {"type": "error", "kind": str(kind), "text": str(text)}:
            found = vars(errors).get(kind)
            known = found if isinstance(found, type) and issubclass(found, errors.DecodebenchError) else PluginError
            raise known(text)
    raise LineError(f"an unknown answer: {line['type']!r}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
