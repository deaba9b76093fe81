"""The logs of an output folder: which there are, and which parser reads which."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.records.raw_log import PART_SUFFIX, SUFFIX, AnyLog, RawLogError
from ..parsers import decodebench, foreign, parity
from ..parsers.labels import place_of

if TYPE_CHECKING:
    from ...core.host.registry import Registry

RAW = "raw"
PARITY = "parity"


@dataclass(frozen=True, slots=True)
class LogFile:
    """One log as it lies there now.

    Attributes:
        path: the file.
        name: relative to the folder, with forward slashes.
        size: in bytes.
        mtime_ns: of its last change.
        parser: name and version of what reads it, and what stands for its labels, where it has any.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int
    parser: str

    @property
    def rank(self) -> tuple[bool, str]:
        """Of two files that hold the same run, the lower one counts."""
        return rank_of(self.name)

    def word(self, problem: object) -> str:
        """Word a problem of the file in one line that does not name its folder again."""
        return one_line(problem, self.path)


def rank_of(name: str) -> tuple[bool, str]:
    """Return the rank of a file by its name: finished ones before ``.part``."""
    return name.endswith(PART_SUFFIX), name


def one_line(problem: object, path: Path) -> str:
    """Word a problem of a file in one line that does not name its folder again."""
    return " ".join(str(problem).replace(str(path), path.name).split())


@dataclass(frozen=True, slots=True)
class Reader:
    """Knows which parser reads which file; plugins are loaded when the first imported file is met, not before."""

    registry: Registry

    @property
    def foreign(self) -> foreign.Parsers:
        """The parsers of plugins, by name."""
        return self.registry.log_parsers

    def parser_of(self, name: str) -> str:
        """Return parser and version for a file's name relative to the folder; the bare name where it is missing."""
        parts = Path(name).parts
        if parts[1] == PARITY:
            return parity.NAME
        if parts[1] != foreign.IMPORTED:
            return decodebench.NAME
        parser = foreign.part_of_copy(name, "parser")
        return foreign.label(self.foreign[parser]) if parser in self.foreign else parser

    def read(self, file: LogFile) -> Sequence[AnyLog]:
        """Read the runs of one file, not of a parity file."""
        if file.parser == decodebench.NAME:
            return [decodebench.read(file.path, file.name)]
        parser = foreign.part_of_copy(file.name, "parser")
        if parser not in self.foreign:
            raise RawLogError(f"no plugin provides log parser {parser!r}; see `decodebench plugins`")
        experiment = foreign.part_of_copy(file.name, "experiment")
        plugin = self.registry.provider("decodebench_log_parsers", parser)
        return foreign.read(file.path, file.name, self.foreign[parser], experiment, plugin)


def log_files(folder: Path, reader: Reader) -> list[LogFile]:
    """Return every log of an output folder, in order of rank."""
    found = []
    for path in _paths(folder):
        try:
            stat = path.stat()
        except OSError:  # a .part that was renamed a moment ago, which the next collate finds; a link to nowhere
            continue
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            parser = reader.parser_of(name) + _mark_of_labels(path)
            found.append(LogFile(path, name, stat.st_size, stat.st_mtime_ns, parser))
    return sorted(found, key=lambda file: file.rank)


def _mark_of_labels(path: Path) -> str:
    """Return what changes with the labels of a copy, so that it is read again; empty for a log without."""
    try:
        return " " + hashlib.sha256(place_of(path).read_bytes()).hexdigest()[:8]
    except OSError:
        return ""


def _paths(folder: Path) -> Iterator[Path]:
    yield from foreign.copies(folder)
    for path in (folder / RAW).rglob("*.jsonl*"):
        is_copy = path.is_relative_to(folder / RAW / foreign.IMPORTED)
        if path.name.endswith((SUFFIX, PART_SUFFIX)) and not is_copy:
            yield path
