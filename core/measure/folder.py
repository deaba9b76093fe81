"""The output folder: who may write to it, and which rounds it already holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UsageError
from ..records.log_content import finished_run
from ..records.raw_log import PART_SUFFIX, SUFFIX, Line, RawLogError, lines
from .plan import Interleave

_LOCK = ".run.lock"
_PART = PART_SUFFIX.removeprefix(SUFFIX)


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


def finish_parts(output: Path) -> None:
    """Give each log that holds its end line its final name: its run was stopped after the last word.

    Where that fails, such as on a file system without room, ``finished_rounds`` counts it as it is.
    """
    for part in (output / "raw").glob(f"*/*{PART_SUFFIX}"):
        final = part.with_name(part.name.removesuffix(_PART))
        with suppress(OSError):
            if not final.exists() and finished_run(part) is not None:
                with part.open("rb") as file:
                    os.fsync(file.fileno())
                part.rename(final)


def finished_rounds(output: Path, experiment: str) -> set[tuple[str, int]]:
    """Return (cell id, round) of every round of ``experiment`` that ended with status ok.

    A log that cannot be read as ``collate`` reads it, whole, is not a finished round.

    Raises:
        UsageError: the system does not let one be read now; it may be a finished round.
    """
    found = set()
    for file, head in _heads(output):
        if head.get("experiment") == experiment:
            with _readable(file):
                run = finished_run(file)
            if run is not None and run.status == "ok":
                found.add((run.cell_id, run.round))
    return found


def next_name(output: Path, name: str) -> str:
    """Return ``name``, or ``name.2``, ``name.3``, ...: the first under which the folder holds no round."""
    taken = {head.get("experiment") for _, head in _heads(output)}
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def latest_name(output: Path, name: str) -> str:
    """Return the last of ``name``, ``name.2``, ``name.3``, ... that the folder holds rounds of; else ``name``."""
    taken = {head.get("experiment") for _, head in _heads(output)}
    number, latest = 2, name
    while f"{name}.{number}" in taken:
        latest = f"{name}.{number}"
        number += 1
    return latest


def stored_threads(output: Path, experiment: str, hostname: str | None) -> int | None:
    """Return how many threads engines got by default in the first round of ``experiment`` on a host; None without one.

    Before that was recorded, every core had one.

    Raises:
        UsageError: the system does not let a log be read now.
    """
    found = []
    for _, head in _heads(output):
        machine = head.get("environment")
        if head.get("experiment") == experiment and isinstance(machine, dict) and machine.get("hostname") == hostname:
            threads = machine.get("default_threads") or machine.get("cores_used")
            if isinstance(threads, int) and threads > 0:
                found.append((str(head.get("started_at")), threads))
    return min(found)[1] if found else None


def check_max_rounds(output: Path, experiment: str, max_rounds: int | None) -> None:
    """Refuse to go on with another number of rounds at most: the looks so far have relied on it.

    Args:
        output: the output folder.
        experiment: its name.
        max_rounds: of the plan; None where the number of rounds is fixed.

    Raises:
        UsageError: the experiment was begun otherwise, or the system does not let a log be read now.
    """
    heads = [head for _, head in _heads(output) if head.get("experiment") == experiment]
    begun = {head.get("max_rounds") for head in heads}
    if begun - {max_rounds}:
        first = next(iter(begun - {max_rounds}))
        how = "a fixed number of rounds" if first is None else f"--max-rounds {first}, on which its looks rely"
        raise UsageError(f"experiment {experiment!r} was begun with {how}: go on likewise, or begin anew with --fresh")


def stored_interleaving(output: Path, experiment: str) -> Interleave | None:
    """Return how the rounds of ``experiment`` are interleaved; None where there are none.

    Raises:
        UsageError: the system does not let a log be read now.
    """
    found = [bool(head.get("block")) for _, head in _heads(output) if head.get("experiment") == experiment]
    return None if not found else "samples" if any(found) else "rounds"


def _heads(output: Path) -> Iterator[tuple[Path, Line]]:
    """Yield every raw log with its first line, where that is one.

    Raises:
        UsageError: the system does not let one be read now.
    """
    for file in sorted((output / "raw").glob(f"*/*{SUFFIX}*")):
        if file.name.endswith((SUFFIX, PART_SUFFIX)) and file.is_file():
            with suppress(RawLogError), _readable(file):
                head = next((line for _, line in lines(file)), None)
                if head is not None and head["type"] == "run":
                    yield file, head


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Refuse to go on without a log that may hold a finished round, which would be measured once more."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read {file}, which may be a finished round: {error.strerror}") from error
