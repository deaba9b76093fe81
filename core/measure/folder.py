"""The output folder: who may write to it, and which rounds it already holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UsageError
from ..records.raw_log import SUFFIX, RawLogError, lines

_LOCK = ".run.lock"


def writable(output: Path) -> None:
    """Create the output folder if need be.

    Raises:
        UsageError: it is no folder, or nothing can be written to it.
    """
    try:
        (output / "raw").mkdir(parents=True, exist_ok=True)
        probe = output / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to output folder {output}: {error.strerror}") from error


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the folder for one run; two at once would disturb each other's figures.

    Raises:
        UsageError: another run holds it.
    """
    file = output / _LOCK
    lock = FileLock(file, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        holder = file.read_text().strip() or "unknown"
        raise UsageError(
            f"another run (process {holder}) is measuring into {output}; wait for it, or give another --output"
        ) from error
    with lock:
        file.write_text(str(os.getpid()))
        yield


def finished_rounds(output: Path, experiment: str) -> set[tuple[str, int]]:
    """Return (cell id, round) of every round of ``experiment`` that ended with status ok."""
    return {(cell, index) for name, cell, index, is_ok in _outcomes(output) if name == experiment and is_ok}


def next_name(output: Path, name: str) -> str:
    """Return ``name``, or ``name.2``, ``name.3``, ...: the first under which the folder holds no round."""
    taken = {experiment for experiment, _, _, _ in _outcomes(output)}
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def latest_name(output: Path, name: str) -> str:
    """Return the last of ``name``, ``name.2``, ``name.3``, ... that the folder holds rounds of; else ``name``."""
    taken = {experiment for experiment, _, _, _ in _outcomes(output)}
    number, latest = 2, name
    while f"{name}.{number}" in taken:
        latest = f"{name}.{number}"
        number += 1
    return latest


def _outcomes(output: Path) -> Iterator[tuple[str, str, int, bool]]:
    """Yield experiment, cell id, round and whether it ended ok, of every raw log with a readable first line."""
    for file in sorted((output / "raw").glob(f"*/*{SUFFIX}")):
        try:
            content = [line for _, line in lines(file)]
        except (RawLogError, OSError):
            continue  # collate reports it; a round that cannot be read is not a finished one
        if content and content[0]["type"] == "run":
            is_ok = content[-1]["type"] == "end" and content[-1].get("status") == "ok"
            head = content[0]
            yield head["experiment"], head["cell_id"], head["round"], is_ok
