"""Files of the user's own that a plan names, a trace or problems: packed with it, and found where it is unpacked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import DecodebenchError
from ...host.registry import Registry
from ...measure.streams.trace_file import digest_of_trace
from .manifest import PLACE
from .privacy import Cleaner

_FOLDER = "inputs"
_OF_FILE = "PATH"  # ``Task.argument`` of a task over a file
_OTHER = "it is not the file that was measured: it has changed since"


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a setting of the workload names.

    Attributes:
        setting: ``trace`` or ``task``.
        file: where it is here.
        before, after: what the setting says before and after the file's place.
        reason: why it cannot be packed; None: it can.
    """

    setting: str
    file: Path
    before: str = ""
    after: str = ""
    reason: str | None = None

    @property
    def place(self) -> str:
        """Where it is in a bundle; problems are called by the name of their file, which stays."""
        return f"{_FOLDER}/{self.setting}/{self.file.name}"

    def text(self, file: str) -> str:
        """Return what the setting says for a file."""
        return f"{self.before}{file}{self.after}"


def inputs_of(run: Mapping[str, Any], registry: Registry, cleaner: Cleaner) -> Iterator[Input]:
    """Yield the files that a run was asked to read, as they are now.

    Args:
        run: its record.
        registry: knows which tasks are over a file.
        cleaner: finds secrets, with which no file is packed: without them it would be another one.
    """
    workload = run["workload"] or {}
    if workload.get("trace"):
        file = Path(workload["trace"]).expanduser()
        yield _packable(Input("trace", file), workload.get("trace_hash"), lambda: digest_of_trace(file), cleaner)
    if run["task"] and (named := _named_by_task(run["task"], registry)):
        yield _packable(named, run["task_version"], lambda: registry.task(run["task"]).version, cleaner)


def inputs_in(workload: Mapping[str, Any], registry: Registry, folder: Path) -> dict[str, str]:
    """Return the settings of a plan that name a file in its bundle, with where that is now.

    Args:
        workload: of the plan.
        registry: as for ``inputs_of``.
        folder: where the bundle was unpacked.
    """
    trace, task = workload.get("trace"), workload.get("task")
    named = [Input("trace", Path(trace))] if isinstance(trace, str) else []
    named += [one] if isinstance(task, str) and (one := _named_by_task(task, registry)) else []
    return {
        one.setting: one.text(str((folder / one.file).absolute())) for one in named if one.file.as_posix() == one.place
    }


def _named_by_task(task: str, registry: Registry) -> Input | None:
    kinds = [name for name, kind in registry.tasks.items() if kind.argument == _OF_FILE and task.startswith(f"{name}:")]
    if not kinds:
        return None
    plain = max(kinds, key=len)
    path, mark, rest = task[len(plain) + 1 :].partition("?")
    return Input("task", Path(path).expanduser(), f"{plain}:", mark + rest)


def _packable(found: Input, digest: str | None, digest_now: Callable[[], str], cleaner: Cleaner) -> Input:
    """Say whether a file can be packed."""
    try:
        reason = None if digest_now() == digest else _OTHER
        if reason is None and not re.fullmatch(PLACE, found.place):
            reason = "its name cannot be that of a file in a bundle"
        if reason is None and _has_secret(found.file, cleaner):
            reason = "it holds what looks like a secret"
    except (DecodebenchError, OSError) as error:
        reason = str(error)
    return replace(found, reason=reason)


def _has_secret(file: Path, cleaner: Cleaner) -> bool:
    """Say whether a text has what a bundle may not; a file that is no text is not searched."""
    with file.open(encoding="utf-8", errors="ignore") as lines:
        for line in lines:
            raw = json.dumps({"type": "sample", "text": line}).encode()
            if cleaner.line(raw) != raw:
                return True
    return False
