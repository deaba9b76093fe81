"""The store's file: opening it, one writer at a time, and putting another in its place."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ... import defaults
from ..errors import DecodebenchError, UsageError

if TYPE_CHECKING:
    import duckdb

FILE_NAME = "results.duckdb"
REBUILD = "`decodebench collate --rebuild` makes it again from the raw logs"

_POLL_S = 0.05  # between two tries of a locked file


class OutdatedStoreError(UsageError):
    """A store that an older decodebench made; the raw logs make it again.

    Args:
        path: the file.
        found: what it is and what is known here.
        advice: what to do.
    """

    code = "store-outdated"

    def __init__(self, path: Path, found: str, advice: str = REBUILD) -> None:
        super().__init__(f"{path}: {found}; {advice}")
        self.path = path
        self.found = found


class StoreTroubleError(DecodebenchError):
    """The store cannot be written or read now: no room, no memory, a broken disk. It says nothing of what it holds."""

    code = "store-trouble"


class StoreInUseError(UsageError):
    """Another process keeps the store open."""

    code = "store-in-use"


def discard(folder: Path, file_name: str = FILE_NAME) -> None:
    """Delete the store of a folder; the raw logs stay.

    Raises:
        UsageError: another process has it open.
    """
    path = folder / file_name
    check_free(folder, file_name)
    path.unlink(missing_ok=True)
    _log_of(path).unlink(missing_ok=True)


def check_free(folder: Path, file_name: str = FILE_NAME) -> None:
    """Make sure that no other process has the store open; a damaged one counts as free.

    Raises:
        UsageError: another process has it open.
    """
    path = folder / file_name
    if path.exists():
        try:
            connect(path, read_only=False).close()
        except StoreInUseError:
            raise
        except UsageError:
            return


def replace(folder: Path, file_name: str) -> None:
    """Put the closed store ``file_name`` in the place of the folder's store, in one step.

    Raises:
        UsageError: another process has the old one open.
    """
    path = folder / FILE_NAME
    check_free(folder)
    _log_of(path).unlink(missing_ok=True)  # of a damaged file; a sound one has just been closed without
    (folder / file_name).replace(path)


def is_clean(folder: Path) -> bool:
    """Whether there is a store, and its last writer closed it: no write-ahead log lies beside it."""
    path = folder / FILE_NAME
    return path.exists() and path.stat().st_size > 0 and not _log_of(path).exists()


def known_sources(folder: Path) -> dict[str, int] | None:
    """Return the files behind a store of any version with the number of their runs; None where it does not tell.

    Raises:
        UsageError: another process has it open.
    """
    import duckdb

    with closing(connect(folder / FILE_NAME, read_only=False)) as connection:
        if not connection.execute("SELECT 1 FROM information_schema.tables").fetchall():
            return {}
        try:
            return dict(
                connection.execute(
                    "SELECT s.path, count(r.run_id) FROM sources s LEFT JOIN runs r ON r.source_file = s.path "
                    "GROUP BY s.path ORDER BY s.path"
                ).fetchall()
            )
        except duckdb.Error:
            return None


def _cores() -> int:
    """Return the cores that this process may run on; DuckDB counts all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the file; waits ``defaults.STORE_WAIT_S`` for another process to let go of it."""
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": not read_only,
        "threads": _cores(),
    }
    if not read_only:
        config["memory_limit"] = defaults.STORE_MEMORY
    deadline = time.monotonic() + defaults.STORE_WAIT_S
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            if "set lock on file" not in first and "different configuration" not in first:
                raise UsageError(f"{path} cannot be opened: {first}\n{REBUILD}", code="store-trouble") from error
            if "different configuration" in first or time.monotonic() > deadline:
                raise StoreInUseError(
                    f"{path} is in use by another process or connection; wait for it to end\n{first}"
                ) from error
        time.sleep(_POLL_S)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def literal(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
