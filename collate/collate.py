"""Raw logs into the store: incremental by file identity, idempotent, some files a transaction.

Whatever the order in which logs appear, change and vanish, the store ends as if it had been built from the files that
are there now; killed at any moment, the next call goes on. Of two files that hold the same run, the first by (finished
before ``.part``, path) counts. A store of an older layout is built anew beside the old one, and takes its place whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.errors import DecodebenchError, UsageError
from ..core.records.raw_log import PART_SUFFIX, SUFFIX, RawLog, RawLogError
from ..core.records.schema import Record
from ..core.records.store import Store
from ..core.records.store_file import OutdatedStoreError, check_free, discard, is_clean, known_sources, replace
from . import bulk
from .parsers import decodebench as decodebench_parser
from .parsers import foreign
from .parsers import parity as parity_parser

if TYPE_CHECKING:
    from ..core.host.registry import Registry

RAW = "raw"
PARITY = "parity"
_BETWEEN_IDS = "\n"  # in sources.run_id, which names every run of the file

_NEXT = "results.duckdb.next"  # the store that is being built to replace another
_BATCH_BYTES = 64 * 2**20  # of logs a transaction: what DuckDB holds of them at once takes some ten times as much
_BATCH_FILES = 200
_NAMED = 5  # files that a message names
_WORDS = ("added", "updated", "unchanged")

Progress = Callable[[int, int, str], None]
"""Called as (files done, files in all, name of the file)."""
Announce = Callable[[str], None]
"""Called with one line before something that takes its time."""


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
class Opened:
    """A store open for reading, and what is wrong with the files behind it."""

    store: Store
    problems: tuple[Problem, ...]


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
class _Fresh:
    """A file that has to be read."""

    file: _File
    digest: str
    is_known: bool  # with other content, or by another parser


def _rank(name: str) -> tuple[bool, str]:
    return name.endswith(PART_SUFFIX), name


def collate(
    folder: Path,
    registry: Registry,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
    intake: foreign.Intake | None = None,
    announce: Announce | None = None,
) -> CollateReport:
    """Bring the store of ``folder`` up to date with its raw logs.

    Args:
        folder: an output folder; logs are ``raw/**/*.jsonl``, ``*.jsonl.part`` and the copies of imported files.
        registry: whose log parsers read those copies.
        rebuild: read every log anew, into a new store that then replaces the old one.
        progress: called before each file.
        intake: other tools' logs to copy into ``folder`` first.
        announce: told when an older store is built anew.

    Raises:
        UsageError: the store cannot be opened for writing, or there is no such format; or an older decodebench made it
            and logs behind it are gone.
    """
    reader = _Reader(registry)
    refused: list[Problem] = []
    taken = [_relative(path, folder) for path in _take_in(folder, intake, reader, refused)] if intake else []
    files = _files(folder, reader)
    report = None
    if not rebuild:
        try:
            with Store.open(folder, read_only=False) as store:
                report = _bring_in(store, files, reader, progress)
        except OutdatedStoreError as outdated:
            _check_logs_are_there(folder, files, outdated)
            if announce is not None and files:
                announce(f"an older decodebench made {outdated.path}: building it anew from {len(files)} logs")
    if report is None:
        report = _build_anew(folder, files, reader, progress)
    problems = (*refused, *report.problems)
    failed = tuple(problem.file for problem in problems if problem in refused or problem.file in taken)
    return report.model_copy(update={"problems": problems, "failed_imports": failed})


def open_current(
    folder: Path, registry: Registry, *, progress: Progress | None = None, announce: Announce | None = None
) -> Opened:
    """Open the store for reading, brought up to date first; only where a log has changed is it opened for writing.

    Raises:
        UsageError: there is none, or it cannot be opened.
    """
    store = _open_if_current(folder, registry)
    if store is None:
        collate(folder, registry, progress=progress, announce=announce)
        store = Store.open(folder)
    return Opened(store, _problems(store))


def _open_if_current(folder: Path, registry: Registry) -> Store | None:
    if not is_clean(folder):
        return None
    try:
        store = Store.open(folder)
    except OutdatedStoreError:
        return None
    try:
        rows = store.query("SELECT path, size, mtime_ns, parser FROM sources")[1]
        if set(rows) == {(f.name, f.size, f.mtime_ns, f.parser) for f in _files(folder, _Reader(registry))}:
            return store
    except BaseException:
        store.close()
        raise
    store.close()
    return None


def _build_anew(folder: Path, files: list[_File], reader: _Reader, progress: Progress | None) -> CollateReport:
    check_free(folder)
    discard(folder, _NEXT)
    with Store.open(folder, read_only=False, file_name=_NEXT) as store:
        report = _bring_in(store, files, reader, progress)
    replace(folder, _NEXT)
    return report


def _check_logs_are_there(folder: Path, files: list[_File], outdated: OutdatedStoreError) -> None:
    """Refuse to build a store anew where that would lose runs."""
    known = known_sources(folder)
    if known is None:
        raise outdated
    present = {file.name for file in files}
    gone = {
        path: runs
        for path, runs in known.items()
        if path not in present and path.removesuffix(PART_SUFFIX) + SUFFIX not in present
    }
    if not gone:
        return
    names = ", ".join(list(gone)[:_NAMED]) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
    raise OutdatedStoreError(
        outdated.path,
        f"{outdated.found}, and {len(gone)} of the {len(known)} logs behind it are gone: {names}",
        f"`decodebench collate --rebuild {folder}` builds it anew without their {sum(gone.values())} runs",
    )


def _bring_in(store: Store, files: Sequence[_File], reader: _Reader, progress: Progress | None) -> CollateReport:
    removed = _remove_vanished(store, {file.name for file in files})
    done: dict[str, str] = {}
    for index, batch in _batches(files):
        for offset, file in enumerate(batch):
            if progress is not None:
                progress(index + offset, len(files), file.name)
        done |= _take(store, batch, reader)
    # A file of lower rank takes over runs of one that was read before; the latter is then read again.
    while forgotten := _not_in(store, [file for file in files if file.name in done]):
        for _, batch in _batches(forgotten):
            done = {name: word for name, word in done.items() if name not in {file.name for file in batch}}
            done |= _take(store, batch, reader)
    _number_rounds(store)
    words = {word: tuple(file.name for file in files if done.get(file.name) == word) for word in _WORDS}
    return CollateReport(removed=tuple(removed), problems=_problems(store), **words)


def _batches(files: Sequence[_File]) -> Iterator[tuple[int, list[_File]]]:
    """Yield files that are taken together, with the index of the first."""
    start = size = 0
    for index, file in enumerate(files):
        if index > start and (size + file.size > _BATCH_BYTES or index - start == _BATCH_FILES):
            yield start, list(files[start:index])
            start, size = index, 0
        size += file.size
    if files:
        yield start, list(files[start:])


def _not_in(store: Store, files: Sequence[_File]) -> list[_File]:
    known = {path for (path,) in store.query("SELECT path FROM sources")[1]}
    return [file for file in files if file.name not in known]


def _problems(store: Store) -> tuple[Problem, ...]:
    rows = store.query("SELECT path, problem FROM sources WHERE problem IS NOT NULL ORDER BY path")[1]
    return tuple(Problem(file=path, text=text) for path, text in rows)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Knows which parser reads which file. Plugins are loaded when the first imported file is met, not before."""

    registry: Registry

    @property
    def foreign(self) -> foreign.Parsers:
        return self.registry.log_parsers

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
        plugin = self.registry.provider("decodebench_log_parsers", parser)
        return foreign.read(file.path, file.name, self.foreign[parser], experiment, plugin)


def _take_in(folder: Path, intake: foreign.Intake, reader: _Reader, refused: list[Problem]) -> list[Path]:
    if intake.log_format is not None:
        reader.registry.log_parser(intake.log_format)  # says what there is where this one is not
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


def _take(store: Store, files: Sequence[_File], reader: _Reader) -> dict[str, str]:
    """Bring files in; returns what had to be done, by name."""
    rows = store.query(
        "SELECT path, size, mtime_ns, sha256, parser FROM sources WHERE path IN (SELECT unnest(?))",
        [[file.name for file in files]],
    )[1]
    known = {row[0]: row[1:] for row in rows}
    fresh: list[_Fresh] = []
    done = {}
    for file in files:
        size, mtime_ns, sha256, parser = known.get(file.name, (None, None, None, None))
        done[file.name] = "unchanged"
        if (size, mtime_ns, parser) == (file.size, file.mtime_ns, file.parser):
            continue
        try:
            with file.path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except FileNotFoundError:  # renamed since the listing
            if file.name not in known:
                del done[file.name]
            continue
        except OSError as error:
            digest = f"unreadable: {error.strerror}"
        if (sha256, parser) == (digest, file.parser):
            found = [file.size, file.mtime_ns, file.name]
            store.query("UPDATE sources SET size = ?, mtime_ns = ? WHERE path = ?", found)
            continue
        done[file.name] = "updated" if file.name in known else "added"
        fresh.append(_Fresh(file, digest, is_known=file.name in known))
    _ingest(store, fresh, reader)
    return done


def _ingest(store: Store, fresh: Sequence[_Fresh], reader: _Reader) -> None:
    """Read files into the store, together if that can be done, else one by one."""
    whole = [
        f.file.path for f in fresh if f.file.parser == decodebench_parser.NAME and not f.file.name.endswith(PART_SUFFIX)
    ]
    staged = bulk.stage(store, whole)
    try:
        with store.transaction():
            _Adding(store, reader, staged).add(fresh)
    except (DecodebenchError, OSError):
        for one in fresh:
            _ingest_one(store, one, reader)


def _ingest_one(store: Store, fresh: _Fresh, reader: _Reader) -> None:
    try:
        with store.transaction():
            _Adding(store, reader, {}).add([fresh])
    except (DecodebenchError, OSError) as error:
        with store.transaction():
            _forget(store, fresh.file.name)
            _add_sources(store, [_Source(fresh, None, _line(str(error), fresh.file.path))])


@dataclass(frozen=True, slots=True)
class _Source:
    """A row of ``sources``: the ids of all runs of the file and its problems, as text."""

    fresh: _Fresh
    run_ids: str | None
    problem: str | None


def _add_sources(store: Store, sources: Iterable[_Source]) -> None:
    rows = [(s.fresh.file, s.fresh.digest, s.run_ids, s.problem) for s in sources]
    values = [(f.name, f.size, f.mtime_ns, digest, ids, problem, f.parser) for f, digest, ids, problem in rows]
    columns = [list(column) for column in zip(*values, strict=True)]
    store.query(f"INSERT INTO sources SELECT {', '.join(['unnest(?)'] * len(columns))}", columns)


@dataclass(slots=True)
class _Adding:
    """Adds files inside one transaction, in order of rank.

    Attributes:
        store: open for writing.
        reader: reads the files that are not staged.
        staged: logs whose steps ``bulk`` holds.
        holders: the file that holds each run which these files hold too.
    """

    store: Store
    reader: _Reader
    staged: dict[Path, RawLog]
    holders: dict[str, str] = field(default_factory=dict)

    def add(self, fresh: Sequence[_Fresh]) -> None:
        """Add all of them, or raise and leave the transaction to be rolled back."""
        for f in fresh:
            if f.is_known:
                _forget(self.store, f.file.name)
        self._look_up([log.run.run_id for log in self.staged.values()])
        sources, steps_of = [], {}
        for f in fresh:
            log = self.staged.get(f.file.path)
            if log is None:
                sources.append(self._add_unstaged(f))
                continue
            decodebench_parser.placed(log, f.file.name)
            source = self._add_runs(f, [log])
            sources.append(source)
            if self.holders[log.run.run_id] == f.file.name:
                steps_of[f.file.path] = log.run.run_id
        if steps_of:
            bulk.add_steps(self.store, steps_of)
        if sources:
            _add_sources(self.store, sources)

    def _add_unstaged(self, fresh: _Fresh) -> _Source:
        try:
            if fresh.file.parser == parity_parser.NAME:
                _add_parity(self.store, fresh.file)
                return _Source(fresh, None, None)
            logs = self.reader.read(fresh.file)
        except (RawLogError, OSError) as error:
            return _Source(fresh, None, _line(str(error), fresh.file.path))
        self._look_up([log.run.run_id for log in logs])
        return self._add_runs(fresh, logs)

    def _look_up(self, run_ids: Sequence[str]) -> None:
        unknown = [run_id for run_id in run_ids if run_id not in self.holders]
        if unknown:
            sql = "SELECT run_id, source_file FROM runs WHERE run_id IN (SELECT unnest(?))"
            self.holders.update(self.store.query(sql, [unknown])[1])

    def _add_runs(self, fresh: _Fresh, logs: Sequence[RawLog]) -> _Source:
        """Add the runs of one file that no file of lower rank holds."""
        problems = []
        for log in logs:
            run_id = log.run.run_id
            holder = self.holders.get(run_id)
            if holder is not None and _rank(holder) < fresh.file.rank:
                problems.append(f"run {run_id} is also in {holder}; counted once, from there")
                continue
            if holder is not None:
                _forget(self.store, holder)  # of higher rank, hence read again later in this collate
                self.holders = {run: file for run, file in self.holders.items() if file != holder}
            self.store.add(log.run, log.samples, log.steps)
            self.holders[run_id] = fresh.file.name
            problems += [log.problem] if log.problem else []
        return _Source(fresh, _BETWEEN_IDS.join(log.run.run_id for log in logs), "; ".join(problems) or None)


def _add_parity(store: Store, file: _File) -> None:
    for number, found in enumerate(parity_parser.read(file.path)):
        content = {"source": file.name} | found.model_dump(exclude={"type", "schema_version"})
        table = "parity_scores"
        if isinstance(found, parity_parser.ParityCell):
            table, content = "parity_cells", content | {"line": number}
        names, marks = (", ".join(words) for words in (map('"{}"'.format, content), "?" * len(content)))
        store.query(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(content.values()))


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
