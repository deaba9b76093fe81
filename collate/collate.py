"""Raw logs into the store: incremental by file identity, idempotent, one transaction a file.

Whatever the order in which logs appear, change and vanish, the store ends as if it had been built from the files that
are there now. Of two files that hold the same run, the first by (finished before ``.part``, path) counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field

from ..core.errors import DecodebenchError, UsageError
from ..core.rawlog import PART_SUFFIX, SUFFIX, RawLog, RawLogError
from ..core.registry import Registry
from ..core.schema import Record
from ..core.store import Store, discard
from .parsers import decodebench as decodebench_parser
from .parsers import foreign
from .parsers import parity as parity_parser

RAW = "raw"
PARITY = "parity"
_BETWEEN_IDS = "\n"  # in sources.run_id, which names every run of the file

Progress = Callable[[int, int, str], None]
"""Called as (files done, files in all, name of the file)."""


class Problem(Record):
    """What is wrong with one file."""

    file: str = Field(description="path relative to the output folder; as given where it was not taken in")
    text: str = Field(description="what, where and what it means for the results; one line")


class CollateReport(Record):
    """What ``collate`` did."""

    added: tuple[str, ...] = Field(default=(), description="files new to the store")
    updated: tuple[str, ...] = Field(default=(), description="files whose content had changed")
    unchanged: tuple[str, ...] = Field(default=(), description="files that were in the store already")
    removed: tuple[str, ...] = Field(default=(), description="files that are gone, and their runs with them")
    problems: tuple[Problem, ...] = Field(default=(), description="every file with a problem, old ones included")
    failed_imports: tuple[str, ...] = Field(default=(), description="those of them that this call was to import")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # relative to the folder, with forward slashes
    size: int
    mtime_ns: int
    parser: str  # name and version

    @property
    def rank(self) -> tuple[bool, str]:
        return _rank(self.name)


@dataclass(frozen=True, slots=True)
class _Known:
    size: int
    mtime_ns: int
    sha256: str
    parser: str


def _rank(name: str) -> tuple[bool, str]:
    return name.endswith(PART_SUFFIX), name


def collate(
    folder: Path,
    rebuild: bool = False,
    progress: Progress | None = None,
    intake: foreign.Intake | None = None,
) -> CollateReport:
    """Bring the store of ``folder`` up to date with its raw logs.

    Args:
        folder: an output folder; logs are ``raw/**/*.jsonl``, ``*.jsonl.part`` and the copies of imported files.
        rebuild: drop the store first.
        progress: called before each file.
        intake: other tools' logs to copy into ``folder`` first.

    Raises:
        UsageError: the store cannot be opened for writing, or there is no such format.
    """
    reader = _Reader()
    refused: list[Problem] = []
    taken = [_relative(path, folder) for path in _take_in(folder, intake, reader, refused)] if intake else []
    if rebuild:
        discard(folder)
    files = _files(folder, reader)
    with Store.open(folder, read_only=False) as store:
        removed = _remove_vanished(store, {file.name for file in files})
        done: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": []}
        for index, file in enumerate(files):
            if progress is not None:
                progress(index, len(files), file.name)
            done[_take(store, file, reader)].append(file.name)
        _number_rounds(store)
        _, rows = store.query("SELECT path, problem FROM sources WHERE problem IS NOT NULL ORDER BY path")
    problems = (*refused, *(Problem(file=path, text=text) for path, text in rows))
    return CollateReport(
        added=tuple(done["added"]),
        updated=tuple(done["updated"]),
        unchanged=tuple(done["unchanged"]),
        removed=tuple(removed),
        problems=problems,
        failed_imports=tuple(problem.file for problem in problems if problem in refused or problem.file in taken),
    )


class _Reader:
    """Knows which parser reads which file. Plugins are loaded when the first imported file is met, not before."""

    @cached_property
    def foreign(self) -> foreign.Parsers:
        return Registry().log_parsers

    def parser_of(self, name: str) -> str:
        """Return parser and version for a file's name relative to the folder; the bare name where it is missing."""
        parts = Path(name).parts
        if parts[1] == PARITY:
            return parity_parser.NAME
        if parts[1] != foreign.IMPORTED:
            return decodebench_parser.NAME
        parser = foreign.part_of_copy(name, "parser")
        return foreign.label(self.foreign[parser]) if parser in self.foreign else parser

    def read(self, file: _File) -> list[RawLog]:
        """Read the runs of one file, not of a parity file."""
        if file.parser == decodebench_parser.NAME:
            return [decodebench_parser.read(file.path, file.name)]
        parser = foreign.part_of_copy(file.name, "parser")
        if parser not in self.foreign:
            raise RawLogError(f"no plugin provides log parser {parser!r}; see `decodebench plugins`")
        experiment = foreign.part_of_copy(file.name, "experiment")
        return foreign.read(file.path, file.name, self.foreign[parser], experiment)


def _take_in(folder: Path, intake: foreign.Intake, reader: _Reader, refused: list[Problem]) -> list[Path]:
    if intake.log_format is not None:
        Registry().log_parser(intake.log_format)  # says what there is where this one is not
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to output folder {folder}: {error.strerror}") from error

    def refuse(path: Path, text: str) -> None:
        name = os.fsencode(path).decode(errors="backslashreplace")
        refused.append(Problem(file=name, text=_line(text, path)))

    return foreign.take_in(folder, intake, reader.foreign, refuse)


def _line(text: str, path: Path) -> str:
    """Word a problem of one file in one line that does not name its folder again."""
    return " ".join(text.replace(str(path), path.name).split())


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _files(folder: Path, reader: _Reader) -> list[_File]:
    found = []
    for path in _paths(folder):
        try:
            stat = path.stat()
        except FileNotFoundError:  # a .part that was renamed a moment ago; the next collate finds it
            continue
        if path.is_file():
            name = _relative(path, folder)
            found.append(_File(path, name, stat.st_size, stat.st_mtime_ns, reader.parser_of(name)))
    return sorted(found, key=lambda file: file.rank)


def _paths(folder: Path) -> Iterator[Path]:
    yield from foreign.copies(folder)
    for path in (folder / RAW).rglob("*.jsonl*"):
        is_copy = path.is_relative_to(folder / RAW / foreign.IMPORTED)
        if path.name.endswith((SUFFIX, PART_SUFFIX)) and not is_copy:
            yield path


def _remove_vanished(store: Store, present: set[str]) -> list[str]:
    known = [path for (path,) in store.query("SELECT path FROM sources ORDER BY path")[1]]
    removed = [path for path in known if path not in present]
    for path in removed:
        with store.transaction():
            _forget(store, path)
    return removed


def _forget(store: Store, path: str) -> None:
    """Take a file's content out; files that held a run of it are forgotten too, so that they are read again."""
    for table in ("parity_scores", "parity_cells"):
        store.query(f"DELETE FROM {table} WHERE source = ?", [path])
    for (run_id,) in store.query("SELECT run_id FROM runs WHERE source_file = ?", [path])[1]:
        store.remove(run_id)
        store.query("DELETE FROM sources WHERE list_contains(string_split(run_id, ?), ?)", [_BETWEEN_IDS, run_id])
    store.query("DELETE FROM sources WHERE path = ?", [path])


def _take(store: Store, file: _File, reader: _Reader) -> str:
    """Bring one file in; returns what had to be done."""
    rows = store.query("SELECT size, mtime_ns, sha256, parser FROM sources WHERE path = ?", [file.name])[1]
    known = _Known(*rows[0]) if rows else None
    if known and (known.size, known.mtime_ns, known.parser) == (file.size, file.mtime_ns, file.parser):
        return "unchanged"
    try:
        digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    except FileNotFoundError:  # renamed since the listing
        return "unchanged"
    except OSError as error:
        digest = f"unreadable: {error.strerror}"
    if known and (known.sha256, known.parser) == (digest, file.parser):
        store.query("UPDATE sources SET size = ?, mtime_ns = ? WHERE path = ?", [file.size, file.mtime_ns, file.name])
        return "unchanged"
    if known:
        with store.transaction():
            _forget(store, file.name)
    _ingest(store, file, digest, reader)
    return "updated" if known else "added"


def _ingest(store: Store, file: _File, digest: str, reader: _Reader) -> None:
    is_parity = file.parser == parity_parser.NAME
    try:
        with store.transaction():
            ids, problem = _add_parity(store, file) if is_parity else _add_runs(store, file, reader.read(file))
            _add_source(store, file, digest, ids, problem)
    except (DecodebenchError, OSError) as error:
        with store.transaction():
            _add_source(store, file, digest, None, _line(str(error), file.path))


def _add_source(store: Store, file: _File, digest: str, run_ids: str | None, problem: str | None) -> None:
    values = [file.name, file.size, file.mtime_ns, digest, run_ids, problem, file.parser]
    store.query("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def _add_runs(store: Store, file: _File, logs: Sequence[RawLog]) -> tuple[str, str | None]:
    """Add the runs of one file that no file of lower rank holds; returns all ids and the problems, as text."""
    problems = []
    for log in logs:
        run_id = log.run.run_id
        holders = store.query("SELECT source_file FROM runs WHERE run_id = ?", [run_id])[1]
        holder = holders[0][0] if holders else None
        if holder is not None and _rank(holder) < file.rank:
            problems.append(f"run {run_id} is also in {holder}; counted once, from there")
            continue
        if holder is not None:
            _forget(store, holder)  # of higher rank, hence read again later in this collate
        store.add(log.run, log.samples, log.steps)
        problems += [log.problem] if log.problem else []
    return _BETWEEN_IDS.join(log.run.run_id for log in logs), "; ".join(problems) or None


def _add_parity(store: Store, file: _File) -> tuple[None, None]:
    for number, found in enumerate(parity_parser.read(file.path)):
        content = {"source": file.name} | found.model_dump(exclude={"type", "schema_version"})
        table = "parity_scores"
        if isinstance(found, parity_parser.ParityCell):
            table, content = "parity_cells", content | {"line": number}
        names, marks = (", ".join(words) for words in (map('"{}"'.format, content), "?" * len(content)))
        store.query(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(content.values()))
    return None, None


def _number_rounds(store: Store) -> None:
    """Number the imported runs of each cell from 0; a foreign log does not know of the others."""
    with store.transaction():
        store.query("""
            UPDATE runs SET round = numbered.round FROM (
                SELECT run_id,
                    row_number() OVER (PARTITION BY experiment, cell_id ORDER BY started_at, run_id) - 1 AS round
                FROM runs WHERE source_format <> 'decodebench'
            ) AS numbered WHERE runs.run_id = numbered.run_id AND runs.round <> numbered.round
        """)
