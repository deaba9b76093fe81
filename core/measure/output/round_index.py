"""Which rounds an output folder holds, without reading its logs again: an index, made from them at any time.

An entry is a log as it was when it was looked at, known by name, size and time of change. Looking reads the first line
and the last one, and all between of a log that is closed, so that a finished round is one for everybody who asks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...errors import DecodebenchError, UsageError
from ...files import write_whole
from ...records.log_content import finished_run
from ...records.raw_log import LONGEST_LINE_BYTES, PART_SUFFIX, SUFFIX, Line, RawLogError, parse_line

FILE_NAME = ".rounds.index"
_VERSION = 2  # of an entry: what an earlier decodebench wrote may have as many fields, and others
UNREADABLE = "unreadable"
"""Status of a round whose log ends well and is damaged before."""
PARITY = "parity"
"""Folder beside those of rounds, for scores of both sides of a comparison."""
_TAIL_BYTES = 64 * 2**10  # an end line is far shorter


@dataclass(frozen=True, slots=True)
class Entry:
    """What a log says of its round.

    Attributes:
        name: of the file, relative to ``raw``, with forward slashes.
        size: in bytes.
        mtime_ns: of its last change.
        experiment: empty for a file that does not say of which round it is the log.
        cell_id: of its cell.
        round: index of the round.
        status: how it ended; None without an end line. ``ok`` is that of a log that can be read as a whole.
        started_at: ISO 8601.
        wall_s: of the whole round, where the log has it.
        order: its position in the schedule of all rounds; its own number where its plan had no other cell.
        threads: of engines that were not told a number; before that was recorded every core had one.
        max_rounds: most rounds of a cell that is looked at in between; None where the number is fixed.
        is_in_block: whether it was measured in turn with others.
    """

    name: str
    size: int
    mtime_ns: int
    experiment: str = ""
    cell_id: str = ""
    round: int = 0
    status: str | None = None
    started_at: str = ""
    wall_s: float | None = None
    order: int | None = None
    threads: int | None = None
    max_rounds: int | None = None
    is_in_block: bool = False


class RoundIndex:
    """The rounds of one output folder, as its logs are now.

    Args:
        output: the folder, which need not exist.

    Raises:
        UsageError: the system does not let a log be read now, which may be a finished round.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        kept = {entry.name: entry for entry in _kept(output / FILE_NAME)}
        self._entries: dict[str, Entry] = {}
        for file in _logs(output):
            entry = kept.get(file.name)
            known = entry is not None and (entry.size, entry.mtime_ns) == (file.size, file.mtime_ns)
            self._entries[file.name] = entry if entry is not None and known else _looked_at(output / "raw", file)
        if kept != self._entries:
            self._save()

    @property
    def nameless(self) -> list[Entry]:
        """Every log whose first line does not say of which round it is."""
        others = f"{PARITY}/"  # which are of several experiments
        return [entry for entry in self._entries.values() if not entry.experiment and not entry.name.startswith(others)]

    @property
    def rounds(self) -> list[Entry]:
        """Every round that has a log, finished or not."""
        return [entry for entry in self._entries.values() if entry.experiment]

    def of(self, experiment: str) -> list[Entry]:
        """Return the rounds of one experiment."""
        return [entry for entry in self._entries.values() if entry.experiment == experiment]

    def finished(self, experiment: str) -> set[tuple[str, int]]:
        """Return (cell id, round) of every round of ``experiment`` that ended with status ok.

        A log that cannot be read as ``collate`` reads it, whole, is not a finished round.
        """
        return {(entry.cell_id, entry.round) for entry in self.of(experiment) if entry.status == "ok"}

    def take(self, entries: Iterable[Entry]) -> None:
        """Take what another folder's index has of logs that were copied from there, size and time of change included.

        Those that are otherwise here are looked at.
        """
        kept = {entry.name: entry for entry in entries}
        for file in _logs(self._output):
            entry = kept.get(file.name)
            if entry is not None and (entry.size, entry.mtime_ns) == (file.size, file.mtime_ns):
                self._entries[file.name] = entry
        self._save()

    def add(self, log: Path) -> None:
        """Add a log that was written and closed now, every line of which was checked as it was written."""
        stat = log.stat()
        name = log.relative_to(self._output / "raw").as_posix()
        entry = _looked_at(self._output / "raw", Entry(name, stat.st_size, stat.st_mtime_ns), is_checked=True)
        self._entries[name] = entry
        with suppress(OSError), (self._output / FILE_NAME).open("a", encoding="utf-8") as file:
            file.write(_as_line(entry))

    def _save(self) -> None:
        with suppress(DecodebenchError):  # a folder that cannot be written to is looked at again next time
            write_whole(self._output / FILE_NAME, "".join(map(_as_line, self._entries.values())))


_FIELDS = tuple(field.name for field in fields(Entry))


def _as_line(entry: Entry) -> str:
    return json.dumps([*(getattr(entry, name) for name in _FIELDS), _VERSION]) + "\n"


def _kept(file: Path) -> Iterator[Entry]:
    """Yield the entries of an index; a line that is none, as it was cut or is of another version, is left out."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    for line in text.splitlines():
        with suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, list) and values[len(_FIELDS) :] == [_VERSION] and isinstance(values[0], str):
                yield Entry(*values[:-1])


def _logs(output: Path) -> Iterator[Entry]:
    for folder in _scanned(output / "raw"):
        for found in _scanned(Path(folder.path)) if folder.is_dir() else ():
            if found.name.endswith((SUFFIX, PART_SUFFIX)) and found.is_file():
                stat = found.stat()
                yield Entry(f"{folder.name}/{found.name}", stat.st_size, stat.st_mtime_ns)


def _scanned(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _looked_at(raw: Path, file: Entry, *, is_checked: bool = False) -> Entry:
    """Return what a log says in its first line and its last; ``ok`` only where it can be read in between.

    Args:
        raw: folder of the logs.
        file: its name, size and time of change.
        is_checked: every line was checked as it was written.
    """
    path = raw / file.name
    with suppress(RawLogError), _readable(path):
        is_closed = file.name.endswith(SUFFIX)  # another one grows, and has its end line at most by chance
        whole = finished_run(path) if is_closed and not is_checked else None
        head, end = (whole, whole) if whole else _ends_of(path)
        if whole or head.get("type") == "run":
            status = _text(end.get("status")) or None
            if status == "ok" and not (whole or is_checked) and (is_closed or finished_run(path) is None):
                status = UNREADABLE
            told = head.get("environment")
            machine: Line = told if isinstance(told, dict) else {}
            return replace(
                file,
                experiment=_text(head.get("experiment")),
                cell_id=_text(head.get("cell_id")),
                round=_number(head.get("round")) or 0,
                status=status,
                started_at=_text(head.get("started_at")),
                wall_s=_seconds(end.get("wall_s")),
                order=_number(head.get("order")),
                threads=_number(machine.get("default_threads")) or _number(machine.get("cores_used")),
                max_rounds=_number(head.get("max_rounds")),
                is_in_block=bool(head.get("block")),
            )
    return file


def _ends_of(path: Path) -> tuple[Line, Line]:
    """Return the first line of a log, and its end line; each empty where there is none.

    Raises:
        RawLogError: the first line is none of a log.
    """
    with path.open("rb") as file:
        first = file.readline(LONGEST_LINE_BYTES)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    head = parse_line(path, 1, first) if first.endswith(b"\n") else {}
    with suppress(RawLogError):
        line = parse_line(path, 0, tail)
        if line["type"] == "end":
            return head, line
    return head, {}


def _text(value: Any) -> str:  # noqa: ANN401 - of a log
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:  # noqa: ANN401 - of a log
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(value: Any) -> float | None:  # noqa: ANN401 - of a log
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Refuse to go on without a log that may hold a finished round, which would be measured once more."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot read {file}, which may be a finished round: {error.strerror}", code="file-unreadable"
        ) from error
