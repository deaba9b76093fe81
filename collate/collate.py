"""Raw logs into the store: incremental by file identity, idempotent, one transaction a file.

Whatever the order in which logs appear, change and vanish, the store ends as if it had been built from the files that
are there now. Of two files that hold the same run, the first by (finished before ``.part``, path) counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from ..core.errors import DecodebenchError
from ..core.rawlog import PART_SUFFIX, SUFFIX
from ..core.schema import Record
from ..core.store import Store, discard
from .parsers import decodebench as decodebench_parser
from .parsers import parity as parity_parser

RAW = "raw"
PARITY = "parity"

Progress = Callable[[int, int, str], None]
"""Called as (files done, files in all, name of the file)."""


class Problem(Record):
    """What is wrong with one file."""

    file: str = Field(description="path relative to the output folder")
    text: str = Field(description="what, where and what it means for the results; one line")


class CollateReport(Record):
    """What ``collate`` did."""

    added: tuple[str, ...] = Field(default=(), description="files new to the store")
    updated: tuple[str, ...] = Field(default=(), description="files whose content had changed")
    unchanged: tuple[str, ...] = Field(default=(), description="files that were in the store already")
    removed: tuple[str, ...] = Field(default=(), description="files that are gone, and their runs with them")
    problems: tuple[Problem, ...] = Field(default=(), description="every file with a problem, old ones included")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # relative to the folder, with forward slashes
    size: int
    mtime_ns: int

    @property
    def rank(self) -> tuple[bool, str]:
        return _rank(self.name)


@dataclass(frozen=True, slots=True)
class _Known:
    size: int
    mtime_ns: int
    sha256: str


def _rank(name: str) -> tuple[bool, str]:
    return name.endswith(PART_SUFFIX), name


def collate(folder: Path, rebuild: bool = False, progress: Progress | None = None) -> CollateReport:
    """Bring the store of ``folder`` up to date with its raw logs.

    Args:
        folder: an output folder; logs are ``raw/**/*.jsonl`` and ``*.jsonl.part``.
        rebuild: drop the store first.
        progress: called before each file.

    Raises:
        UsageError: the store cannot be opened for writing.
    """
    if rebuild:
        discard(folder)
    files = _files(folder)
    with Store.open(folder, read_only=False) as store:
        removed = _remove_vanished(store, {file.name for file in files})
        done: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": []}
        for index, file in enumerate(files):
            if progress is not None:
                progress(index, len(files), file.name)
            done[_take(store, file)].append(file.name)
        _, problems = store.query("SELECT path, problem FROM sources WHERE problem IS NOT NULL ORDER BY path")
    return CollateReport(
        added=tuple(done["added"]),
        updated=tuple(done["updated"]),
        unchanged=tuple(done["unchanged"]),
        removed=tuple(removed),
        problems=tuple(Problem(file=path, text=text) for path, text in problems),
    )


def _files(folder: Path) -> list[_File]:
    found = []
    for path in (folder / RAW).rglob("*.jsonl*"):
        if not path.name.endswith((SUFFIX, PART_SUFFIX)):
            continue
        try:
            stat = path.stat()
        except FileNotFoundError:  # a .part that was renamed a moment ago; the next collate finds it
            continue
        if path.is_file():
            found.append(_File(path, path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(found, key=lambda file: file.rank)


def _remove_vanished(store: Store, present: set[str]) -> list[str]:
    known = [path for (path,) in store.query("SELECT path FROM sources ORDER BY path")[1]]
    removed = [path for path in known if path not in present]
    for path in removed:
        with store.transaction():
            _forget(store, path)
    return removed


def _forget(store: Store, path: str) -> None:
    """Take a file's content out; files that held the same run are forgotten too, so that they are read again."""
    store.query("DELETE FROM parity_scores WHERE source = ?", [path])
    for (run_id,) in store.query("SELECT run_id FROM runs WHERE source_file = ?", [path])[1]:
        store.remove(run_id)
        store.query("DELETE FROM sources WHERE run_id = ?", [run_id])
    store.query("DELETE FROM sources WHERE path = ?", [path])


def _take(store: Store, file: _File) -> str:
    """Bring one file in; returns what had to be done."""
    rows = store.query("SELECT size, mtime_ns, sha256 FROM sources WHERE path = ?", [file.name])[1]
    known = _Known(*rows[0]) if rows else None
    if known and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
        return "unchanged"
    try:
        digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    except FileNotFoundError:  # renamed since the listing
        return "unchanged"
    except OSError as error:
        digest = f"unreadable: {error.strerror}"
    if known and known.sha256 == digest:
        store.query("UPDATE sources SET size = ?, mtime_ns = ? WHERE path = ?", [file.size, file.mtime_ns, file.name])
        return "unchanged"
    if known:
        with store.transaction():
            _forget(store, file.name)
    _ingest(store, file, digest)
    return "updated" if known else "added"


def _ingest(store: Store, file: _File, digest: str) -> None:
    is_parity = Path(file.name).parts[1] == PARITY
    parser = parity_parser.NAME if is_parity else decodebench_parser.NAME
    try:
        with store.transaction():
            run_id, problem = (_add_parity if is_parity else _add_run)(store, file)
            _add_source(store, file, digest, run_id, problem, parser)
    except (DecodebenchError, OSError) as error:
        text = " ".join(str(error).replace(str(file.path), Path(file.name).name).split())
        with store.transaction():
            _add_source(store, file, digest, None, text, parser)


def _add_source(store: Store, file: _File, digest: str, run_id: str | None, problem: str | None, parser: str) -> None:
    values = [file.name, file.size, file.mtime_ns, digest, run_id, problem, parser]
    store.query("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def _add_run(store: Store, file: _File) -> tuple[str, str | None]:
    log = decodebench_parser.read(file.path, file.name)
    run_id = log.run.run_id
    holders = store.query("SELECT source_file FROM runs WHERE run_id = ?", [run_id])[1]
    if holders:
        holder = holders[0][0]
        if _rank(holder) < file.rank:
            return run_id, _duplicate(run_id, holder)
        store.remove(run_id)
        store.query("UPDATE sources SET problem = ? WHERE run_id = ?", [_duplicate(run_id, file.name), run_id])
    store.add(log.run, log.samples, log.steps)
    return run_id, log.problem


def _duplicate(run_id: str, holder: str) -> str:
    return f"run {run_id} is also in {holder}; counted once, from there"


def _add_parity(store: Store, file: _File) -> tuple[None, None]:
    for score in parity_parser.read(file.path):
        content = score.model_dump(exclude={"type", "schema_version"})
        store.query("INSERT INTO parity_scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [file.name, *content.values()])
    return None, None
