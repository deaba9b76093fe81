"""The store: one DuckDB file per output folder, made from the raw logs and rebuilt from them at any time.

Tables and their column types and constraints are derived from ``schema``; the views ``sample_facts``,
``sample_metrics`` and ``run_metrics`` from ``metrics``. DuckDB is imported when a store is opened, not before.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .errors import DecodebenchError, UsageError
from .metrics import FACTS_SQL, run_metrics_sql, sample_metrics_sql
from .schema import SCHEMA_VERSION, Run, Sample, Step

if TYPE_CHECKING:
    import duckdb

FILE_NAME = "results.duckdb"
STORE_VERSION = 1
REBUILD = "`decodebench collate --rebuild` makes it again from the raw logs"

_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}
_KEYS = {"runs": ("run_id",), "samples": ("run_id", "index"), "steps": ("run_id", "sample", "index")}
_MODELS: dict[str, type[BaseModel]] = {"runs": Run, "samples": Sample, "steps": Step}
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
    views = {"sample_facts": FACTS_SQL, "sample_metrics": sample_metrics_sql(), "run_metrics": run_metrics_sql()}
    statements += [f"CREATE VIEW {name} AS {sql};" for name, sql in views.items()]
    return "\n".join(statements)


def _layout() -> str:
    """Fingerprint of tables and views: any change of schema or metrics asks for a rebuild, declared or not."""
    return hashlib.sha256(ddl().encode()).hexdigest()[:16]


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _literal(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


class Store:
    """An open store; a context manager. ``Store.open`` is the way to get one."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = True) -> Store:
        """Open ``folder/results.duckdb``; a writer creates folder and file.

        Args:
            folder: an output folder.
            read_only: also keeps queries from reading or writing any other file.

        Raises:
            UsageError: there is none, it is locked, damaged, or of another version; says what to do.
        """
        import duckdb

        path = folder / FILE_NAME
        if read_only and not path.exists():
            raise UsageError(f"no results in {folder}: {FILE_NAME} is missing; run `decodebench collate {folder}`")
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": not read_only}
        try:
            connection = duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.Error as error:
            raise _open_error(path, str(error)) from error
        store = cls(path, connection, read_only=read_only)
        try:
            store._check_version()
        except UsageError:
            connection.close()
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
        expected = (STORE_VERSION, _layout())
        if versions != [expected]:
            found = "{} ({})".format(*versions[0]) if versions else "none"
            known = "{} ({})".format(*expected)
            raise UsageError(f"{self.path}: store version {found}, this decodebench has {known}; {REBUILD}")

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
            self._connection.execute("COMMIT")
        except duckdb.Error as error:
            with suppress(duckdb.Error):  # a failed COMMIT has ended the transaction by itself
                self._connection.execute("ROLLBACK")
            first = str(error).splitlines()[0]
            raise DecodebenchError(f"cannot write {self.path}: {first}; the raw logs are untouched") from error
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> tuple[list[str], Rows]:
        """Run one statement and return its column names and rows.

        Args:
            sql: any SQL over the tables and views; the store refuses to change when opened read-only.
            params: values for ``?`` or ``$name``.

        Raises:
            UsageError: DuckDB refuses it; its own message.
        """
        import duckdb

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

    def add(self, run: Run, samples: Sequence[Sample], steps: Sequence[Step]) -> None:
        """Add one run with everything below it; call it inside ``transaction``.

        Raises:
            UsageError: a step or sample twice, one of another run, or a value out of its column's range.
        """
        indices = {sample.index for sample in samples}
        keys = {(step.sample, step.index) for step in steps}
        if len(indices) != len(samples) or len(keys) != len(steps):
            raise UsageError(f"run {run.run_id}: a sample or step stands in the log twice")
        if any(step.sample not in indices for step in steps):
            raise UsageError(f"run {run.run_id}: a step belongs to a sample that is not in the log")
        environment = run.environment
        flat = {name: getattr(environment, name) if environment else None for name in _FLATTENED}
        self._load("runs", [json.dumps({**run.model_dump(mode="json"), **flat})], _FLATTENED)
        self._load("samples", [sample.model_dump_json() for sample in samples])
        self._load("steps", [step.model_dump_json() for step in steps])

    def _load(self, table: str, lines: Sequence[str], extra: Sequence[str] = ()) -> None:
        """Insert JSON objects through DuckDB's own reader: some 20 times faster than row by row."""
        if not lines:
            return
        columns = {**columns_of(table), **dict.fromkeys(extra, "VARCHAR")}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "rows.jsonl"
            path.write_text("\n".join(lines), encoding="utf-8")
            longest = 4 * max(len(line) for line in lines) + 1024  # bytes of UTF-8 per character at most
            names = ", ".join(_quoted(columns))
            typed = ", ".join(f"'{name}': '{sql_type}'" for name, sql_type in columns.items())
            self.query(
                f"INSERT INTO {table} ({names}) SELECT {names} FROM read_json($path, format='newline_delimited', "
                f"columns={{{typed}}}, maximum_object_size={max(longest, 2**20)})",
                {"path": str(path)},
            )

    def remove(self, run_id: str) -> None:
        """Remove a run with everything below it."""
        for table in ("steps", "samples", "runs"):
            self.query(f"DELETE FROM {table} WHERE run_id = ?", [run_id])


def discard(folder: Path) -> None:
    """Delete the store of a folder; the raw logs stay.

    Raises:
        UsageError: another process has it open.
    """
    import duckdb

    path = folder / FILE_NAME
    if path.exists():
        try:
            duckdb.connect(str(path)).close()
        except duckdb.Error as error:
            if "lock" in str(error):
                raise _open_error(path, str(error)) from error
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)


def _open_error(path: Path, text: str) -> UsageError:
    first = text.splitlines()[0]
    if "lock" in text or "different configuration" in text:
        return UsageError(f"{path} is in use by another process or connection; wait for it to end\n{first}")
    return UsageError(f"{path} cannot be opened: {first}\n{REBUILD}")
