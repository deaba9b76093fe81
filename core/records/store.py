"""The store: one DuckDB file per output folder, made from the raw logs and rebuilt from them at any time.

Tables and their column types and constraints are derived from ``schema``; the table ``sample_facts`` and the views
``sample_metrics`` and ``run_metrics`` from ``metrics``. The facts of a run are computed once, when the transaction that
adds it commits, so that no reader sums up steps again. DuckDB is imported when a store is opened, not before.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import DecodebenchError, UsageError
from ..files import whole_file
from .facts import FACTS_SQL
from .schema import SCHEMA_VERSION, RecordedStep, Run, Sample
from .store_file import FILE_NAME, OutdatedStoreError, StoreTroubleError, connect, literal
from .tables import FLATTENED, VIEWS, columns_of, ddl, layout, quoted

if TYPE_CHECKING:
    import duckdb

STORE_VERSION = 3
# Of added rows that are loaded together. It bounds the memory of a large log, and keeps below the 32 MiB at which
# DuckDB, whose buffer ends there, takes a file of JSON lines for malformed.
_WAITING_BYTES = 8 * 2**20
_FILL_FACTS = f"""
INSERT INTO sample_facts BY NAME
WITH runs AS (SELECT * FROM main.runs WHERE run_id IN (SELECT unnest($runs))),
     samples AS (SELECT * FROM main.samples WHERE run_id IN (SELECT unnest($runs))),
     steps AS (SELECT * FROM main.steps WHERE run_id IN (SELECT unnest($runs)))
SELECT * FROM ({FACTS_SQL})
"""
"""The facts of some runs: the names that ``FACTS_SQL`` reads stand for these runs only."""

Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class _Places:
    """The indices of a sample's steps, of which there may be millions: those from 0 on without a gap are a number."""

    first: int = 0
    others: set[int] = field(default_factory=set)

    def take(self, index: int) -> bool:
        """Note an index; False where it was there."""
        if index < self.first or index in self.others:
            return False
        if index != self.first:
            self.others.add(index)
            return True
        self.first += 1
        while self.others and self.first in self.others:
            self.others.remove(self.first)
            self.first += 1
        return True


class Store:
    """An open store; a context manager. ``Store.open`` is the way to get one."""

    _empty: ClassVar[dict[str, bytes]] = {}  # the file of an empty store by its layout, once this process has made one

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._waiting: dict[str, list[str]] = defaultdict(list)  # JSON lines by table
        self._waiting_bytes = 0
        self._fresh: list[str] = []  # runs without facts
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = True, file_name: str = FILE_NAME) -> Store:
        """Open ``folder/results.duckdb``; a writer creates folder and file.

        Any number of readers may have it open at once, or one writer; a second one waits a few seconds.

        Args:
            folder: an output folder.
            read_only: also keeps queries from reading or writing any other file.
            file_name: another name than usual, for a store that is to replace one.

        Raises:
            OutdatedStoreError: an older decodebench made it.
            UsageError: there is none, it is locked, damaged, or of a newer version; says what to do.
        """
        path = folder / file_name
        if read_only and not path.exists():
            raise UsageError(
                f"no results in {folder}: {file_name} is missing; run `decodebench collate {folder}`", code="no-results"
            )
        if not read_only and not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            cls._create(path)
        store = cls(path, connect(path, read_only=read_only), read_only=read_only)
        try:
            store._check_version()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _create(cls, path: Path) -> None:
        """Make an empty store under another name first: half of one could be neither opened nor gone on with.

        DuckDB takes a tenth of a second and more to plan all views: a process that makes several copies its first.
        """
        import duckdb

        try:
            if layout() not in cls._empty:
                with tempfile.TemporaryDirectory(dir=path.parent, prefix=".store-") as folder:
                    made = Path(folder) / path.name
                    with closing(connect(made, read_only=False)) as connection:
                        connection.execute(ddl())
                        connection.execute("INSERT INTO meta VALUES (?, ?)", [STORE_VERSION, layout()])
                    cls._empty[layout()] = made.read_bytes()
            with whole_file(path, replaces=False) as scratch:
                scratch.write_bytes(cls._empty[layout()])
        except (duckdb.Error, DecodebenchError, OSError) as error:
            first = str(error).splitlines()[0].removeprefix(f"cannot write {path}: ")
            raise StoreTroubleError(f"cannot write {path}: {first}") from error

    def _check_version(self) -> None:
        import duckdb

        try:
            versions = self._connection.execute("SELECT store_version, layout FROM meta").fetchall()
        except duckdb.Error:
            versions = []
        version, fingerprint = versions[0] if len(versions) == 1 else (0, "none")
        if version > STORE_VERSION:
            raise UsageError(
                f"{self.path}: a newer decodebench made it (store version {version}, this one has {STORE_VERSION}); "
                "upgrade with `pip install --upgrade decodebench`",
                code="store-newer",
            )
        if (version, fingerprint) != (STORE_VERSION, layout()):
            known = f"this one has {STORE_VERSION} ({layout()})"
            raise OutdatedStoreError(
                self.path, f"an older decodebench made it (store version {version} ({fingerprint}), {known})"
            )

    def owns(self, scratch: tempfile.TemporaryDirectory[str]) -> None:
        """Delete the folder that the file is in when it is closed."""
        self._scratch = scratch

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing.

        Raises:
            StoreTroubleError: the file cannot be written, such as on a full disk.
            UsageError: DuckDB refuses what was added.
        """
        import duckdb

        try:
            self._connection.execute("BEGIN")
            yield
            self._load_waiting()
            if self._fresh:
                self.query(_FILL_FACTS, {"runs": self._fresh})
            self._connection.execute("COMMIT")
        except duckdb.Error as error:
            with suppress(duckdb.Error):  # a failed COMMIT has ended the transaction by itself
                self._connection.execute("ROLLBACK")
            raise self._refused(error) from error
        except BaseException:
            with suppress(duckdb.Error):  # a store that its disk has failed takes no statement any more
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._fresh.clear()
            self._waiting.clear()
            self._waiting_bytes = 0

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> tuple[list[str], Rows]:
        """Run one statement and return its column names and rows.

        Args:
            sql: one statement over the tables and views; the store refuses to change when opened read-only.
            params: values for ``?`` or ``$name``.

        Raises:
            UsageError: DuckDB refuses it, with its own message; no statement, or several.
            StoreTroubleError: the file, open for writing, cannot be written or read.
        """
        import duckdb

        self._load_waiting()
        try:
            if (count := len(self._connection.extract_statements(sql))) != 1:
                told = (
                    f"{count} statements, of which only the last would be shown" if count else "there is no statement"
                )
                raise UsageError(f"query: {told}", code="query-failed")
            cursor = self._connection.execute(sql, params)
            return [column[0] for column in cursor.description or ()], cursor.fetchall()
        except duckdb.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: duckdb.Error) -> DecodebenchError:
        """Tell what the system does not give a writer from what DuckDB does not take."""
        import duckdb

        of_content = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)
        if not self.read_only and not isinstance(error, of_content):
            first = str(error).splitlines()[0]
            return StoreTroubleError(f"cannot write {self.path}: {first}; the raw logs are untouched")
        return UsageError(f"query: {error}", code="query-failed")

    def dicts(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement and return a dict per row."""
        columns, rows = self.query(sql, params)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def leave_out_first_samples(self) -> None:
        """Hide the first measured sample of every round from all figures, as long as this store is open.

        Views of this connection stand before the file's own; what the samples said and scored stays.
        """
        self.query(
            f"""
            CREATE OR REPLACE TEMP VIEW sample_facts AS
            SELECT f.* FROM {self.path.stem}.main.sample_facts f JOIN (
                SELECT run_id, min("index") AS first FROM samples WHERE NOT is_warmup GROUP BY run_id
            ) AS rounds ON rounds.run_id = f.run_id WHERE f.is_warmup OR f.sample > rounds.first
            """
        )
        for name, sql in VIEWS.items():
            self.query(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def write_parquet(self, sql: str, path: Path, params: Mapping[str, Any] | None = None) -> None:
        """Write the rows of a query as a Parquet file, with the version of the schema in its metadata.

        A store that is open for reading keeps queries from every other file, which stays so: this is a connection of
        its own that reads the same file, and it runs no SQL of a user.

        Args:
            sql: a SELECT over the tables and views.
            path: the file.
            params: values for ``$name``.

        Raises:
            UsageError: DuckDB refuses it; its own message.
        """
        import duckdb

        version = f"{{decodebench_schema: '{SCHEMA_VERSION}'}}"
        try:
            with duckdb.connect() as writer:
                writer.execute(f"ATTACH {literal(self.path)} AS store (READ_ONLY)")
                writer.execute("USE store")
                options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {version}"
                writer.execute(f"COPY ({sql}) TO {literal(path)} ({options})", params)
        except duckdb.Error as error:
            raise UsageError(f"cannot write {path}: {error}", code="write-failed") from error

    def add(self, run: Run, samples: Iterable[Sample], steps: Iterable[RecordedStep]) -> None:
        """Add one run with everything below it, as it comes; call it inside ``transaction``.

        Raises:
            UsageError: a step or sample twice, one of another run, or a value that its column cannot
                hold; the latter may be told by a later call, or as the transaction ends.
        """
        environment = run.environment
        flat = {name: getattr(environment, name) if environment else None for name in FLATTENED}
        places: dict[int, _Places] = {}
        twice = UsageError(f"run {run.run_id}: a sample or step is in the log twice", code="log-unreadable")
        try:
            self._wait("runs", json.dumps({**run.model_dump(mode="json"), **flat}, allow_nan=False))
            for sample in samples:
                if sample.index in places:
                    raise twice
                places[sample.index] = _Places()
                self._wait("samples", sample.model_dump_json())
            for step in steps:
                if step.sample not in places:
                    raise UsageError(f"run {run.run_id}: a step of a sample that is not there", code="log-unreadable")
                if not places[step.sample].take(step.index):
                    raise twice
                self._wait("steps", step.model_dump_json())
        except ValueError as error:  # half a surrogate pair, or a number that JSON has not
            raise UsageError(f"run {run.run_id!a} cannot be stored: {error}", code="log-unreadable") from error
        self._fresh.append(run.run_id)

    def _wait(self, table: str, line: str) -> None:
        """Keep a row until there are enough of them to be loaded together."""
        self._waiting[table].append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes > _WAITING_BYTES:
            self._load_waiting()

    def _load_waiting(self) -> None:
        waiting = [(table, lines) for table, lines in self._waiting.items() if lines]
        self._waiting.clear()
        self._waiting_bytes = 0
        for table, lines in waiting:
            self._load(table, lines)

    def _load(self, table: str, lines: Sequence[str]) -> None:
        """Insert JSON objects through DuckDB's own reader: some 20 times faster than row by row."""
        columns = columns_of(table) | (dict.fromkeys(FLATTENED, "VARCHAR") if table == "runs" else {})
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "rows.jsonl"
            path.write_text("\n".join(lines), encoding="utf-8")
            longest = 4 * max(len(line) for line in lines) + 1024  # bytes of UTF-8 per character at most
            names = ", ".join(quoted(columns))
            typed = ", ".join(f"'{name}': '{sql_type}'" for name, sql_type in columns.items())
            try:
                self.query(
                    f"INSERT INTO {table} ({names}) SELECT {names} FROM read_json($path, format='newline_delimited', "
                    f"columns={{{typed}}}, maximum_object_size={max(longest, 2**20)})",
                    {"path": str(path)},
                )
            except UsageError as error:
                text = str(error).replace(str(path), table)
                raise UsageError(text.split("Try setting")[0].strip(), code="bad-value") from error

    def remove(self, run_id: str) -> None:
        """Remove a run with everything below it."""
        for table in ("sample_facts", "steps", "samples", "runs"):
            self.query(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
