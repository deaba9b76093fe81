"""Raw logs into the store: incremental by file identity, idempotent, some files a transaction.

Whatever the order in which logs appear, change and vanish, the store ends as if it had been built from the files that
are there now; killed at any moment, the next call goes on. Of two files that hold the same run, the first by (finished
before ``.part``, path) counts. A store of an older layout is built anew beside the old one, and takes its place whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.errors import UsageError
from ..core.records.raw_log import PART_SUFFIX, SUFFIX
from ..core.records.schema import Record
from ..core.records.store import Store
from ..core.records.store_file import OutdatedStoreError, check_free, discard, is_clean, known_sources, replace
from .parsers import foreign
from .store_update.loading import Progress, load
from .store_update.log_files import LogFile, Reader, log_files, one_line

if TYPE_CHECKING:
    from ..core.host.registry import Registry

_NEXT = "results.duckdb.next"  # the store that is being built to replace another
_NAMED = 5  # files that a message names

Announce = Callable[[str], None]
"""Called with one line before something that takes its time."""


class Problem(Record):
    """What is wrong with one file."""

    file: str = Field(description="path relative to the output folder; as given where it was not taken in")
    text: str = Field(description="what, where and what it means for the results; one line")


Imported = tuple[tuple[str, str], ...]


class CollateReport(Record):
    """What ``collate`` did."""

    added: tuple[str, ...] = Field(default=(), description="files new to the store")
    updated: tuple[str, ...] = Field(default=(), description="files whose content had changed")
    unchanged: tuple[str, ...] = Field(default=(), description="files that were in the store already")
    removed: tuple[str, ...] = Field(default=(), description="files that are gone, and their runs with them")
    problems: tuple[Problem, ...] = Field(default=(), description="every file with a problem, old ones included")
    imported: Imported = Field(
        default=(), description="files that this call imported, as given, each with its copy, or one for each format"
    )
    failed_imports: tuple[str, ...] = Field(default=(), description="those of them that this call was to import")
    unread: tuple[str, ...] = Field(
        default=(), description="those of them that the system did not let us read now; the next call tries again"
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A store open for reading, and what is wrong with the files behind it.

    Attributes:
        store: the store.
        problems: every file with a problem.
        unread: those of them that the system did not let us read now.
    """

    store: Store
    problems: tuple[Problem, ...]
    unread: tuple[str, ...] = ()


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
    reader = Reader(registry)
    taken, refused = _take_in(folder, intake, reader) if intake else ((), [])
    files = log_files(folder, reader)
    report = None
    if not rebuild:
        try:
            with Store.open(folder, read_only=False) as store:
                report = _bring_in(store, files, reader, progress)
        except OutdatedStoreError as outdated:
            _check_logs_are_there(folder, files, outdated)
            if announce is not None and files:
                announce(f"an older decodebench made {outdated.path}: rebuilding it from {len(files)} logs")
    if report is None:
        report = _build_anew(folder, files, reader, progress)
    problems = (*refused, *report.problems)
    copies = {copy for _, copy in taken}
    failed = tuple(problem.file for problem in problems if problem in refused or problem.file in copies)
    return report.model_copy(update={"problems": problems, "failed_imports": failed, "imported": taken})


def open_current(
    folder: Path, registry: Registry, *, progress: Progress | None = None, announce: Announce | None = None
) -> Opened:
    """Open the store for reading, brought up to date first; only where a log has changed is it opened for writing.

    Where the folder cannot be written to, a store of its logs is made for this time and deleted when it is closed.

    Raises:
        UsageError: there is none, or it cannot be opened.
    """
    store = _open_if_current(folder, registry)
    if store is None and not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return _open_elsewhere(folder, registry, progress)
    if store is None:
        report = collate(folder, registry, progress=progress, announce=announce)
        return Opened(Store.open(folder), report.problems, report.unread)
    return Opened(store, _problems(store))


def _open_elsewhere(folder: Path, registry: Registry, progress: Progress | None) -> Opened:
    reader = Reader(registry)
    scratch = tempfile.TemporaryDirectory(prefix="decodebench-")
    with Store.open(Path(scratch.name), read_only=False) as store:
        report = _bring_in(store, log_files(folder, reader), reader, progress)
    made = Store.open(Path(scratch.name))
    made.owns(scratch)
    return Opened(made, report.problems, report.unread)


def _open_if_current(folder: Path, registry: Registry) -> Store | None:
    if not is_clean(folder):
        return None
    try:
        store = Store.open(folder)
    except OutdatedStoreError:
        return None
    try:
        rows = store.query("SELECT path, size, mtime_ns, parser FROM sources")[1]
        if set(rows) == {(f.name, f.size, f.mtime_ns, f.parser) for f in log_files(folder, Reader(registry))}:
            return store
    except BaseException:
        store.close()
        raise
    store.close()
    return None


def _build_anew(folder: Path, files: list[LogFile], reader: Reader, progress: Progress | None) -> CollateReport:
    check_free(folder)
    discard(folder, _NEXT)
    with Store.open(folder, read_only=False, file_name=_NEXT) as store:
        report = _bring_in(store, files, reader, progress)
    replace(folder, _NEXT)
    return report


def _check_logs_are_there(folder: Path, files: list[LogFile], outdated: OutdatedStoreError) -> None:
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
        f"`decodebench collate --rebuild {folder}` rebuilds it without their {sum(gone.values())} runs",
    )


def _bring_in(store: Store, files: list[LogFile], reader: Reader, progress: Progress | None) -> CollateReport:
    loaded = load(store, files, reader, progress)
    order = {file.name: place for place, file in enumerate(files)}  # after those that were removed
    names = sorted(loaded.words, key=lambda name: order.get(name, -1))
    words = {word: tuple(name for name in names if loaded.words[name] == word) for word in set(loaded.words.values())}
    unread = [Problem(file=name, text=text) for name, text in loaded.unread.items()]
    return CollateReport(problems=(*_problems(store), *unread), unread=tuple(loaded.unread), **words)


def _problems(store: Store) -> tuple[Problem, ...]:
    rows = store.query("SELECT path, problem FROM sources WHERE problem IS NOT NULL ORDER BY path")[1]
    return tuple(Problem(file=path, text=text) for path, text in rows)


def _take_in(folder: Path, intake: foreign.Intake, reader: Reader) -> tuple[Imported, list[Problem]]:
    """Copy other tools' logs into the folder; return them by name, each with its copy, and what was refused."""
    if intake.log_format is not None:
        reader.registry.log_parser(intake.log_format)  # says what there is where this one is not
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to output folder {folder}: {error.strerror}", code="write-failed") from error

    refused: list[Problem] = []

    def refuse(path: Path, text: str) -> None:
        refused.append(Problem(file=_printed(path), text=one_line(text, path)))

    taken = foreign.take_in(folder, intake, reader.foreign, refuse)
    return tuple((_printed(file), copy.relative_to(folder).as_posix()) for file, copy in taken), refused


def _printed(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")
