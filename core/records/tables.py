"""The tables of the store: columns, their types and constraints from ``schema``, facts and views from ``metrics``."""

from __future__ import annotations

import hashlib
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .facts import FACTS_SQL
from .metrics import run_metrics_sql, sample_metrics_sql
from .schema import RecordedStep, Run, Sample

_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}
_KEYS = {"runs": ("run_id",), "samples": ("run_id", "index")}  # an index over millions of steps would cost more
MODELS: dict[str, type[BaseModel]] = {"runs": Run, "samples": Sample, "steps": RecordedStep}
FLATTENED = ("hostname", "cpu_model")  # of the environment, so that SQL reads without JSON paths

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

VIEWS = {"sample_metrics": sample_metrics_sql(), "run_metrics": run_metrics_sql()}
"""The queries behind the views, by name."""


def column_type(annotation: Any) -> tuple[str, bool]:  # noqa: ANN401 - annotations have no common type
    """Return the DuckDB type of a schema field and whether it may be NULL."""
    if get_origin(annotation) in (types.UnionType, typing.Union):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return column_type(inner[0])[0], True
    origin = get_origin(annotation)
    if origin is Literal:
        return "VARCHAR", False
    if origin is tuple:
        inner_type = column_type(get_args(annotation)[0])[0]
        return "JSON" if inner_type == "JSON" else f"{inner_type}[]", False
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "JSON", False
    return _SQL_TYPES[annotation], False


def columns_of(table: str) -> dict[str, str]:
    """Return the columns of ``runs``, ``samples`` or ``steps`` with their DuckDB types, schema order."""
    return {name: column_type(field.annotation)[0] for name, field in MODELS[table].model_fields.items()}


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
    for table, model in MODELS.items():
        columns = [_column_sql(name, field) for name, field in model.model_fields.items()]
        if table == "runs":
            columns += [f"{name} VARCHAR" for name in FLATTENED]
        if table in _KEYS:
            columns.append(f"PRIMARY KEY ({', '.join(quoted(_KEYS[table]))})")
        statements.append(f"CREATE TABLE {table} (\n    " + ",\n    ".join(columns) + "\n);")
    statements.append(_OTHER_TABLES)
    statements.append(f"CREATE TABLE sample_facts AS SELECT * FROM ({FACTS_SQL}) LIMIT 0;")
    statements += [f"CREATE VIEW {name} AS {sql};" for name, sql in VIEWS.items()]
    return "\n".join(statements)


def layout() -> str:
    """Fingerprint of tables and views: any change of schema or metrics asks for a rebuild, declared or not."""
    return hashlib.sha256(ddl().encode()).hexdigest()[:16]


def quoted(names: Iterable[str]) -> list[str]:
    """Return names as identifiers of SQL."""
    return [f'"{name}"' for name in names]
