"""Logs into an open store: what has changed is read, some files a transaction, until the store holds what is there.

Of two files that hold the same run, or a finished round of the same cell, the one of lower rank counts. A file that the
system does not let us read now is not judged: nothing is stored of it, and the next call tries again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DecodebenchError
from ...core.records.raw_log import LARGE_BYTES, PART_SUFFIX, AnyLog, RawLog, RawLogError
from ...core.records.schema import Run
from ...core.records.store import Store
from ...core.records.store_file import StoreTroubleError
from ..parsers import decodebench, parity
from . import bulk
from .log_files import LogFile, Reader, rank_of

_BETWEEN_IDS = "\n"  # in sources.run_id, which names every run of the file, and those that count in its place
_BATCH_BYTES = 64 * 2**20  # of logs a transaction: what DuckDB holds of them at once takes some ten times as much
_BATCH_FILES = 200

_Slot = tuple[str, str, int, str]  # experiment, cell, round, block: one finished run of ours counts

Progress = Callable[[int, int, str], None]
"""Called as (files done, files in all, name of the file)."""


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A file that has to be read."""

    file: LogFile
    digest: str
    is_known: bool  # with other content, by another parser, or by runs that are left of it


@dataclass(frozen=True, slots=True)
class _Source:
    """A row of ``sources``: the ids of all runs of the file and its problems, as text."""

    fresh: _Fresh
    run_ids: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the files, by name.

    Attributes:
        words: ``added``, ``updated``, ``unchanged`` or ``removed``.
        unread: why the system did not let a file be read; what the store holds of it already stays.
    """

    words: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def load(store: Store, files: Sequence[LogFile], reader: Reader, progress: Progress | None) -> Loaded:
    """Bring the store to hold these files and no others.

    Args:
        store: open for writing.
        files: every log, in order of rank.
        reader: reads them.
        progress: called before each file.

    Raises:
        StoreTroubleError: the store cannot be written now.
    """
    loaded = Loaded(dict.fromkeys(_remove_vanished(store, {file.name for file in files}), "removed"))
    for index, batch in _batches(files):
        for offset, file in enumerate(batch):
            if progress is not None:
                progress(index + offset, len(files), file.name)
        _take(store, batch, reader, loaded)
    # A file of lower rank takes over runs of one that was read before; the latter is then read again.
    while forgotten := _not_in(store, [file for file in files if file.name in loaded.words]):
        for _, batch in _batches(forgotten):
            for file in batch:
                del loaded.words[file.name]
            _take(store, batch, reader, loaded)
    _number_rounds(store)
    return loaded


def _batches(files: Sequence[LogFile]) -> Iterator[tuple[int, list[LogFile]]]:
    """Yield files that are taken together, with the index of the first."""
    start = size = 0
    for index, file in enumerate(files):
        if index > start and (size + file.size > _BATCH_BYTES or index - start == _BATCH_FILES):
            yield start, list(files[start:index])
            start, size = index, 0
        size += file.size
    if files:
        yield start, list(files[start:])


def _not_in(store: Store, files: Sequence[LogFile]) -> list[LogFile]:
    known = {path for (path,) in store.query("SELECT path FROM sources")[1]}
    return [file for file in files if file.name not in known]


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


def _take(store: Store, files: Sequence[LogFile], reader: Reader, loaded: Loaded) -> None:
    """Bring files in and note what had to be done."""
    names = [[file.name for file in files]]
    sql = "SELECT path, size, mtime_ns, sha256, parser FROM sources WHERE path IN (SELECT unnest(?))"
    known = {row[0]: row[1:] for row in store.query(sql, names)[1]}
    sql = "SELECT DISTINCT source_file FROM runs WHERE source_file IN (SELECT unnest(?))"
    holding = {name for (name,) in store.query(sql, names)[1]}
    fresh: list[_Fresh] = []
    for file in files:
        size, mtime_ns, sha256, parser = known.get(file.name, (None, None, None, None))
        loaded.words[file.name] = "unchanged"
        if (size, mtime_ns, parser) == (file.size, file.mtime_ns, file.parser):
            continue
        try:
            digest = _digest(file)
        except FileNotFoundError:  # renamed since the listing
            if file.name not in known:
                del loaded.words[file.name]
        except OSError as error:
            _note_unread(loaded, file, error)
        else:
            if (sha256, parser) == (digest, file.parser):
                found = [file.size, file.mtime_ns, file.name]
                store.query("UPDATE sources SET size = ?, mtime_ns = ? WHERE path = ?", found)
            else:
                loaded.words[file.name] = "updated" if file.name in known else "added"
                fresh.append(_Fresh(file, digest, is_known=file.name in known or file.name in holding))
    _ingest(store, fresh, reader, loaded)


def _note_unread(loaded: Loaded, file: LogFile, error: OSError | MemoryError) -> None:
    loaded.words.pop(file.name, None)
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    loaded.unread[file.name] = file.word(f"could not be read: {why}; it is read again next time")


def _digest(file: LogFile) -> str:
    """Return a hash of the content."""
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _ingest(store: Store, fresh: Sequence[_Fresh], reader: Reader, loaded: Loaded) -> None:
    """Read files into the store, together if that can be done, else one by one."""
    own = [one.file for one in fresh if one.file.parser == decodebench.NAME]
    whole = (file for file in own if not file.name.endswith(PART_SUFFIX) and file.size <= LARGE_BYTES)
    staged = bulk.stage(store, [file.path for file in whole])
    try:
        with store.transaction():
            _Adding(store, reader, staged).add(fresh)
    except StoreTroubleError:
        raise
    except (DecodebenchError, OSError, MemoryError):
        for one in fresh:
            _ingest_one(store, one, reader, loaded)


def _ingest_one(store: Store, fresh: _Fresh, reader: Reader, loaded: Loaded) -> None:
    try:
        with store.transaction():
            _Adding(store, reader, {}).add([fresh])
    except StoreTroubleError:
        raise
    except (OSError, MemoryError) as error:
        _note_unread(loaded, fresh.file, error)
    except DecodebenchError as error:
        with store.transaction():
            _forget(store, fresh.file.name)
            _add_sources(store, [_Source(fresh, None, fresh.file.word(error))])


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
        slots: the run that holds each place which a finished run of these files would take.
    """

    store: Store
    reader: Reader
    staged: dict[Path, RawLog]
    holders: dict[str, str] = field(default_factory=dict)
    slots: dict[_Slot, str] = field(default_factory=dict)

    def add(self, fresh: Sequence[_Fresh]) -> None:
        """Add all of them, or raise and leave the transaction to be rolled back."""
        for one in fresh:
            if one.is_known:
                _forget(self.store, one.file.name)
        self._look_up([log.run for log in self.staged.values()])
        sources, steps_of = [], {}
        for one in fresh:
            log = self.staged.get(one.file.path)
            if log is None:
                sources.append(self._add_unstaged(one))
                continue
            sources.append(self._add_runs(one, [decodebench.placed(log, one.file.name)]))
            if self.holders.get(log.run.run_id) == one.file.name:
                steps_of[one.file.path] = log.run.run_id
        if steps_of:
            bulk.add_steps(self.store, steps_of)
        if sources:
            _add_sources(self.store, sources)

    def _add_unstaged(self, fresh: _Fresh) -> _Source:
        try:
            if fresh.file.parser == parity.NAME:
                _add_parity(self.store, fresh.file)
                return _Source(fresh, None, None)
            logs = self.reader.read(fresh.file)
        except RawLogError as error:
            return _Source(fresh, None, fresh.file.word(error))
        self._look_up([log.run for log in logs])
        return self._add_runs(fresh, logs)

    def _look_up(self, runs: Sequence[Run]) -> None:
        unknown = [run.run_id for run in runs if run.run_id not in self.holders]
        if unknown:
            sql = "SELECT run_id, source_file FROM runs WHERE run_id IN (SELECT unnest(?))"
            self.holders.update(self.store.query(sql, [unknown])[1])
        slots = [slot for run in runs if (slot := _slot(run)) is not None and slot not in self.slots]
        if slots:
            sql = """
                SELECT experiment, cell_id, round, slot.block, run_id, source_file FROM runs JOIN (
                    SELECT unnest(?) AS experiment, unnest(?) AS cell_id, unnest(?) AS round, unnest(?) AS block
                ) slot USING (experiment, cell_id, round)
                WHERE coalesce(runs.block, '') = slot.block AND status = 'ok' AND source_format = 'decodebench'
            """
            columns = [list(column) for column in zip(*slots, strict=True)]
            for experiment, cell_id, index, block, run_id, file in self.store.query(sql, columns)[1]:
                self.slots[experiment, cell_id, index, block] = run_id
                self.holders[run_id] = file

    def _add_runs(self, fresh: _Fresh, logs: Sequence[AnyLog]) -> _Source:
        """Add the runs of one file that no file of lower rank holds, nor others in their place."""
        problems, run_ids = [], []
        for log in logs:
            run, slot = log.run, _slot(log.run)
            run_ids.append(run.run_id)
            before = [run.run_id] if slot is None else [run.run_id, self.slots.get(slot, run.run_id)]
            held = {known: self.holders[known] for known in before if known in self.holders}
            counted = next((known for known in held if rank_of(held[known]) < fresh.file.rank), None)
            if counted is not None:
                what = f"run {run.run_id}" if counted == run.run_id else f"round {run.round + 1} of cell {run.cell_id}"
                problems.append(f"{what} is also in {held[counted]}; counted once, from there")
                run_ids.append(counted)  # without which this one would count
                continue
            for holder in held.values():
                self._take_over(holder)
            self.store.add(run, log.samples, log.steps)
            self.holders[run.run_id] = fresh.file.name
            if slot is not None:
                self.slots[slot] = run.run_id
            problems += [log.problem] if log.problem else []
        return _Source(fresh, _BETWEEN_IDS.join(run_ids), "; ".join(problems) or None)

    def _take_over(self, holder: str) -> None:
        """Forget a file of higher rank, which is hence read again later in this collate."""
        _forget(self.store, holder)
        lost = {run_id for run_id, file in self.holders.items() if file == holder}
        self.holders = {run_id: file for run_id, file in self.holders.items() if run_id not in lost}
        self.slots = {slot: run_id for slot, run_id in self.slots.items() if run_id not in lost}


def _slot(run: Run) -> _Slot | None:
    """Return the place that a finished round of ours takes in its experiment, of which there is one.

    A baseline takes one in each block: it is measured again with whatever was missing of its round.
    """
    is_ours = run.source_format == "decodebench" and run.status == "ok"
    return (run.experiment, run.cell_id, run.round, run.block or "") if is_ours else None


def _add_parity(store: Store, file: LogFile) -> None:
    for number, found in enumerate(parity.read(file.path)):
        content = {"source": file.name} | found.model_dump(exclude={"type", "schema_version"})
        table = "parity_scores"
        if isinstance(found, parity.ParityCell):
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
