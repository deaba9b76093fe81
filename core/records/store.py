"""The store: one DuckDB file per output folder, made from the raw logs and rebuilt from them at any time.

Tables and their column types and constraints are derived from ``schema``; the table ``sample_facts`` and the views
``sample_metrics`` and ``run_metrics`` from ``metrics``. The facts of a run are computed once, when the transaction that
adds it commits, so that no reader sums up steps again. DuckDB is imported when a store is opened, not before.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ... import defaults
from ..errors import DecodebenchError, UsageError
from .metrics import FACTS_SQL, run_metrics_sql, sample_metrics_sql
from .schema import SCHEMA_VERSION, RecordedStep, Run, Sample

if TYPE_CHECKING:
    import duckdb

FILE_NAME = "results.duckdb"
STORE_VERSION = 3
REBUILD = "`decodebench collate --rebuild` makes it again from the raw logs"

_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}
_KEYS = {"runs": ("run_id",), "samples": ("run_id", "index"), "steps": ("run_id", "sample", "index")}
_MODELS: dict[str, type[BaseModel]] = {"runs": Run, "samples": Sample, "steps": RecordedStep}
_FLATTENED = ("hostname", "cpu_model")  # of the environment, so that SQL reads without JSON paths

_OTHER_TABLES = """
CREATE TABLE sources (
    path VARCHAR PRIMARY KEY, size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, sha256 VARCHAR NOT NULL,
    run_id VARCHAR, problem VARCHAR, parser VARCHAR NOT NULL
);
CREATE TABLE parity_scores (
    source VARCHAR NOT NULL, experiment VARCHAR NOT NULL, baseline_cell VARCHAR NOT NULL, cell VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL, "position" BIGINT NOT NULL CHECK ("position" >= 0), baseline_token BIGINT,
    token BIGINT, logprob_gap DOUBLE, top2_margin DOUBLE
);
CREATE TABLE parity_cells (
    source VARCHAR NOT NULL, line BIGINT NOT NULL, experiment VARCHAR NOT NULL, reference_cell VARCHAR NOT NULL,
    cell VARCHAR NOT NULL, verdict VARCHAR NOT NULL, compared BIGINT NOT NULL CHECK (compared >= 0),
    identical BIGINT NOT NULL CHECK (identical >= 0), tokens_identical DOUBLE, positions BIGINT NOT NULL,
    top1_agreement DOUBLE, kl_mean DOUBLE, kl_max DOUBLE, kl_is_exact BOOLEAN, max_logprob_diff DOUBLE,
    perplexity DOUBLE, perplexity_text VARCHAR, reason VARCHAR
);
CREATE TABLE meta (store_version INTEGER NOT NULL, layout VARCHAR NOT NULL);
"""

_POLL_S = 0.05  # between two tries of a locked file
_WAITING_ROWS = 100_000  # added rows that are loaded together; bounds the memory of a large log

Rows = list[tuple[Any, ...]]


def column_type(annotation: Any) -> tuple[str, bool]:  # noqa: ANN401 - annotations have no common type
    """Return the DuckDB type of a schema field and whether it may be NULL."""
    if get_origin(annotation) in (types.UnionType, typing.Union):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return column_type(inner[0])[0], True
    origin = get_origin(annotation)
    if origin is Literal:
        return "VARCHAR", False
    if origin is tuple:
        return f"{_SQL_TYPES[get_args(annotation)[0]]}[]", False
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "JSON", False
    return _SQL_TYPES[annotation], False


def columns_of(table: str) -> dict[str, str]:
    """Return the columns of ``runs``, ``samples`` or ``steps`` with their DuckDB types, schema order."""
    return {name: column_type(field.annotation)[0] for name, field in _MODELS[table].model_fields.items()}


def _choices(annotation: Any) -> tuple[str, ...]:  # noqa: ANN401 - annotations have no common type
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            return get_args(part)
    return ()


def _column_sql(name: str, field: FieldInfo) -> str:
    sql_type, nullable = column_type(field.annotation)
    parts = [f'"{name}" {sql_type}'] + ([] if nullable else ["NOT NULL"])
    operators = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le")}
    for limit in field.metadata:
        if type(limit) in operators:
            operator, attribute = operators[type(limit)]
            parts.append(f'CHECK ("{name}" {operator} {getattr(limit, attribute)})')
    choices = _choices(field.annotation)
    if choices:
        parts.append(f'CHECK ("{name}" IN ({", ".join(repr(choice) for choice in choices)}))')
    return " ".join(parts)


def ddl() -> str:
    """Return the statements that create every table and view."""
    statements = []
    for table, model in _MODELS.items():
        columns = [_column_sql(name, field) for name, field in model.model_fields.items()]
        if table == "runs":
            columns += [f"{name} VARCHAR" for name in _FLATTENED]
        if table != "steps":
            columns.append(f"PRIMARY KEY ({', '.join(_quoted(_KEYS[table]))})")
        statements.append(f"CREATE TABLE {table} (\n    " + ",\n    ".join(columns) + "\n);")
    statements.append(_OTHER_TABLES)
    statements.append(f"CREATE TABLE sample_facts AS SELECT * FROM ({FACTS_SQL}) LIMIT 0;")
    views = {"sample_metrics": sample_metrics_sql(), "run_metrics": run_metrics_sql()}
    statements += [f"CREATE VIEW {name} AS {sql};" for name, sql in views.items()]
    return "\n".join(statements)


_FILL_FACTS = f"""
INSERT INTO sample_facts BY NAME
WITH runs AS (SELECT * FROM main.runs WHERE run_id IN (SELECT unnest($runs))),
     samples AS (SELECT * FROM main.samples WHERE run_id IN (SELECT unnest($runs))),
     steps AS (SELECT * FROM main.steps WHERE run_id IN (SELECT unnest($runs)))
SELECT * FROM ({FACTS_SQL})
"""
"""The facts of some runs: the names that ``FACTS_SQL`` reads stand for these runs only."""


def _layout() -> str:
    """Fingerprint of tables and views: any change of schema or metrics asks for a rebuild, declared or not."""
    return hashlib.sha256(ddl().encode()).hexdigest()[:16]


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _literal(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _nothing() -> dict[str, list[str]]:
    """Return no JSON line for any table."""
    return {table: [] for table in _MODELS}


class OutdatedStoreError(UsageError):
    """A store that an older decodebench made; the raw logs make it again.

    Args:
        path: the file.
        found: what it is and what is known here.
        advice: what to do.
    """

    def __init__(self, path: Path, found: str, advice: str = REBUILD) -> None:
        super().__init__(f"{path}: {found}; {advice}")
        self.path = path
        self.found = found


class Store:
    """An open store; a context manager. ``Store.open`` is the way to get one."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._waiting = _nothing()
        self._fresh: list[str] = []  # runs without facts

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = True, file_name: str = FILE_NAME) -> Store:
        """Open ``folder/results.duckdb``; a writer creates folder and file.

        Any number of readers may have it open at once, or one writer; who comes second waits a few seconds.

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
            raise UsageError(f"no results in {folder}: {file_name} is missing; run `decodebench collate {folder}`")
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        store = cls(path, _connect(path, read_only=read_only), read_only=read_only)
        try:
            store._check_version()
        except BaseException:
            store.close()
            raise
        return store

    def _check_version(self) -> None:
        import duckdb

        tables = {name for (name,) in self.query("SELECT table_name FROM information_schema.tables")[1]}
        if not tables and not self.read_only:
            with self.transaction():
                self._connection.execute(ddl())
                self._connection.execute("INSERT INTO meta VALUES (?, ?)", [STORE_VERSION, _layout()])
            return
        try:
            versions = self._connection.execute("SELECT store_version, layout FROM meta").fetchall()
        except duckdb.Error:
            versions = []
        version, layout = versions[0] if len(versions) == 1 else (0, "none")
        if version > STORE_VERSION:
            raise UsageError(
                f"{self.path}: a newer decodebench made it (store version {version}, this one has {STORE_VERSION}); "
                "upgrade with `pip install --upgrade decodebench`"
            )
        if (version, layout) != (STORE_VERSION, _layout()):
            known = f"this one has {STORE_VERSION} ({_layout()})"
            raise OutdatedStoreError(
                self.path, f"an older decodebench made it (store version {version} ({layout}), {known})"
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing.

        Raises:
            DecodebenchError: the file cannot be written, such as on a full disk.
        """
        import duckdb

        self._connection.execute("BEGIN")
        try:
            yield
            self._load_waiting()
            self._fill_facts()
            self._connection.execute("COMMIT")
        except duckdb.Error as error:
            with suppress(duckdb.Error):  # a failed COMMIT has ended the transaction by itself
                self._connection.execute("ROLLBACK")
            first = str(error).splitlines()[0]
            raise DecodebenchError(f"cannot write {self.path}: {first}; the raw logs are untouched") from error
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        finally:
            self._fresh, self._waiting = [], _nothing()

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> tuple[list[str], Rows]:
        """Run one statement and return its column names and rows.

        Args:
            sql: any SQL over the tables and views; the store refuses to change when opened read-only.
            params: values for ``?`` or ``$name``.

        Raises:
            UsageError: DuckDB refuses it; its own message.
        """
        import duckdb

        self._load_waiting()
        try:
            cursor = self._connection.execute(sql, params)
            return [column[0] for column in cursor.description or ()], cursor.fetchall()
        except duckdb.Error as error:
            raise UsageError(f"query: {error}") from error

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
        for name, sql in (("sample_metrics", sample_metrics_sql()), ("run_metrics", run_metrics_sql())):
            self.query(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def write_parquet(self, sql: str, path: Path, params: Mapping[str, Any] | None = None) -> None:
        """Write the rows of a query as a Parquet file, with the version of the schema in its metadata.

        A store that is open for reading keeps queries from every other file, which stays so: this is a connection of
        its own that reads the same file, and it runs nothing that a user wrote.

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
                writer.execute(f"ATTACH {_literal(self.path)} AS store (READ_ONLY)")
                writer.execute("USE store")
                options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {version}"
                writer.execute(f"COPY ({sql}) TO {_literal(path)} ({options})", params)
        except duckdb.Error as error:
            raise UsageError(f"cannot write {path}: {error}") from error

    def add(self, run: Run, samples: Sequence[Sample], steps: Sequence[RecordedStep]) -> None:
        """Add one run with everything below it; call it inside ``transaction``.

        Raises:
            UsageError: a step or sample twice, one of another run, or a value that its column cannot
                hold; the latter may be told by a later call, or as the transaction ends.
        """
        indices = {sample.index for sample in samples}
        keys = {(step.sample, step.index) for step in steps}
        if len(indices) != len(samples) or len(keys) != len(steps):
            raise UsageError(f"run {run.run_id}: a sample or step stands in the log twice")
        if any(step.sample not in indices for step in steps):
            raise UsageError(f"run {run.run_id}: a step belongs to a sample that is not in the log")
        environment = run.environment
        flat = {name: getattr(environment, name) if environment else None for name in _FLATTENED}
        try:
            self._waiting["runs"].append(json.dumps({**run.model_dump(mode="json"), **flat}, allow_nan=False))
            self._waiting["samples"] += [sample.model_dump_json() for sample in samples]
            self._waiting["steps"] += [step.model_dump_json() for step in steps]
        except ValueError as error:  # half a surrogate pair, or a number that JSON has not
            raise UsageError(f"run {run.run_id!a}: a value that cannot be stored: {error}") from error
        self._fresh.append(run.run_id)
        if sum(map(len, self._waiting.values())) > _WAITING_ROWS:
            self._load_waiting()

    def _load_waiting(self) -> None:
        waiting, self._waiting = self._waiting, _nothing()
        for table, lines in waiting.items():
            if lines:
                self._load(table, lines, _FLATTENED if table == "runs" else ())

    def _fill_facts(self) -> None:
        if self._fresh:
            self.query(_FILL_FACTS, {"runs": self._fresh})

    def _load(self, table: str, lines: Sequence[str], extra: Sequence[str] = ()) -> None:
        """Insert JSON objects through DuckDB's own reader: some 20 times faster than row by row."""
        columns = {**columns_of(table), **dict.fromkeys(extra, "VARCHAR")}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "rows.jsonl"
            path.write_text("\n".join(lines), encoding="utf-8")
            longest = 4 * max(len(line) for line in lines) + 1024  # bytes of UTF-8 per character at most
            names = ", ".join(_quoted(columns))
            typed = ", ".join(f"'{name}': '{sql_type}'" for name, sql_type in columns.items())
            try:
                self.query(
                    f"INSERT INTO {table} ({names}) SELECT {names} FROM read_json($path, format='newline_delimited', "
                    f"columns={{{typed}}}, maximum_object_size={max(longest, 2**20)})",
                    {"path": str(path)},
                )
            except UsageError as error:
                text = str(error).replace(str(path), table)
                raise UsageError(text.split("Try setting")[0].strip()) from error

    def remove(self, run_id: str) -> None:
        """Remove a run with everything below it."""
        for table in ("sample_facts", "steps", "samples", "runs"):
            self.query(f"DELETE FROM {table} WHERE run_id = ?", [run_id])


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
            _connect(path, read_only=False).close()
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

    with closing(_connect(folder / FILE_NAME, read_only=False)) as connection:
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


class StoreInUseError(UsageError):
    """Another process keeps the store open."""


def _connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the file; waits ``defaults.STORE_WAIT_S`` for another process to let go of it."""
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": not read_only}
    if not read_only:
        config["memory_limit"] = defaults.STORE_MEMORY
    deadline = time.monotonic() + defaults.STORE_WAIT_S
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            if "set lock on file" not in first and "different configuration" not in first:
                raise UsageError(f"{path} cannot be opened: {first}\n{REBUILD}") from error
            if "different configuration" in first or time.monotonic() > deadline:
                raise StoreInUseError(
                    f"{path} is in use by another process or connection; wait for it to end\n{first}"
                ) from error
        time.sleep(_POLL_S)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
