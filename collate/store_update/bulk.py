"""decodebench's own raw logs straight into DuckDB: many files a statement, no Python object a step.

A line counts as a step here only if it is written as a round writes it: the fields of ``schema.RecordedStep`` in their
order, each a literal of its type and within its limits. All other lines go through ``raw_log``. Whatever is out of the
ordinary is left to ``raw_log`` as a whole file: it accepts more ways to write the same, and words every error. A file
is therefore never accepted here that it would refuse, nor with other values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from ...core.errors import UsageError
from ...core.records import raw_log as rawlog
from ...core.records.raw_log import RawLog, RawLogError
from ...core.records.schema import RecordedStep
from ...core.records.store import Store
from ...core.records.store_file import StoreTroubleError
from ...core.records.tables import column_type, columns_of

_NOT_IN_LINE = ("run_id", "source_line")  # filled in by whoever reads the line
_GLOB = frozenset("*?[")
_READERS = 8  # DuckDB reads all files of one read_text in one thread

_INTEGER = r"(?:0|[1-9]\d{0,17})"  # below 2^63; what is larger is Python's to judge
_NUMBER = rf"(?:{_INTEGER}(?:\.\d+)?(?:[eE][+-]?\d{{1,2}})?)"
_ESCAPE = r'\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))'  # no surrogate
_TEXT = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'
_SCALAR = rf"(?:null|true|false|-?{_NUMBER}|{_TEXT})"
_KEY = r'"[^"\\\x00-\x1f]*"'


def _list_of(item: str) -> str:
    return rf"\[(?:{item}(?:, ?{item})*)?\]"


_VALUE = f"(?:{_SCALAR}|{_list_of(_SCALAR)}|{_list_of(_list_of(_SCALAR))})"
_TRACE = rf"\{{(?:{_KEY}: ?{_VALUE}(?:, ?{_KEY}: ?{_VALUE})*)?\}}"  # no object within, whose keys could be twice
_LITERALS = {
    "BIGINT": _INTEGER,
    "DOUBLE": _NUMBER,
    "VARCHAR": _TEXT,
    "BIGINT[]": _list_of(f"-?{_INTEGER}"),
    "JSON": _TRACE,
}


def step_pattern() -> str:
    """Return the regular expression (RE2) of a whole step line: no minus but before a token id."""
    parts = [r'\{"type": ?"step"']
    for name, field in RecordedStep.model_fields.items():
        if name in _NOT_IN_LINE:
            continue
        sql_type, nullable = column_type(field.annotation)
        literal = _LITERALS[sql_type]
        part = f', ?"{name}": ?' + (f"(?:{literal}|null)" if nullable else literal)
        parts.append(part if field.is_required() else f"(?:{part})?")
    return "".join(parts) + r"\}"


def _step_shape() -> str:
    types = {name: sql_type for name, sql_type in columns_of("steps").items() if name not in _NOT_IN_LINE}
    return "{" + ", ".join(f'"{name}": "{sql_type}"' for name, sql_type in types.items()) + "}"


def _stage_sql(files: Sequence[str]) -> str:
    share = -(-len(files) // _READERS)
    literals = ["'" + file.replace("'", "''") + "'" for file in files]
    shares = (", ".join(literals[i : i + share]) for i in range(0, len(files), share))
    readers = [f"SELECT filename, content FROM read_text([{several}])" for several in shares]
    return f"""
        CREATE OR REPLACE TEMP TABLE staged AS
        SELECT file, number, CASE WHEN NOT is_step THEN line END AS line,
            CASE WHEN is_step THEN from_json(line, '{_step_shape()}') END AS step
        FROM (
            SELECT file, number, line, regexp_full_match(line, '{step_pattern()}') AS is_step FROM (
                SELECT filename AS file, unnest(lines) AS line, unnest(range(1, len(lines) + 1)) AS number FROM (
                    SELECT filename, string_split(content, chr(10))[:-2] AS lines
                    FROM ({" UNION ALL ".join(readers)}) WHERE ends_with(content, chr(10))
                )
            )
        )
    """


def stage(store: Store, paths: Sequence[Path]) -> dict[Path, RawLog]:
    """Read raw logs into a temporary table, from which ``add_steps`` takes their steps.

    Args:
        store: open for writing.
        paths: raw logs.

    Returns:
        The logs that could be read this way, without their steps; the others are for ``rawlog.read``.
    """
    by_name = {str(path): path for path in paths if _can_be_named(str(path))}
    if not by_name:
        return {}
    try:
        store.query(_stage_sql(list(by_name)))
    except (UsageError, StoreTroubleError):  # such as one that is no UTF-8, or gone
        return {}
    samples = _samples_of_steps(store)
    rows = store.query("SELECT file, number, line FROM staged WHERE step IS NULL ORDER BY file, number")[1]
    logs = {}
    for name, found in groupby(rows, key=lambda row: str(row[0])):
        path = by_name.get(name)
        log = None if path is None else _read(path, [(number, line) for _, number, line in found])
        if path is not None and log is not None and _are_whole(log, samples.get(name, {})):
            logs[path] = log
    return logs


def add_steps(store: Store, run_ids: Mapping[Path, str]) -> None:
    """Add the staged steps of these files, as those of these runs; call it inside ``transaction``."""
    names = [f'"{name}"' for name in columns_of("steps") if name not in _NOT_IN_LINE]
    store.query(
        f"INSERT INTO steps (run_id, source_line, {', '.join(names)}) "
        f"SELECT runs.id, staged.number, {', '.join(f'step.{name}' for name in names)} "
        "FROM staged JOIN (SELECT unnest($files) AS file, unnest($ids) AS id) AS runs ON runs.file = staged.file "
        "WHERE step IS NOT NULL",
        {"files": [str(path) for path in run_ids], "ids": list(run_ids.values())},
    )


def _can_be_named(name: str) -> bool:
    """Whether DuckDB takes the name for this file and no other."""
    return _GLOB.isdisjoint(name) and name.isprintable()


def _samples_of_steps(store: Store) -> dict[str, dict[int, bool]]:
    """Return, by file, the samples that have steps and whether each of these steps stands there once."""
    rows = store.query(
        "SELECT file, sample, max(times) = 1 FROM ("
        "SELECT file, step.sample AS sample, count(*) AS times FROM staged WHERE step IS NOT NULL GROUP BY file, "
        'step.sample, step."index") GROUP BY file, sample'
    )[1]
    found: dict[str, dict[int, bool]] = {}
    for file, sample, is_once in rows:
        found.setdefault(file, {})[sample] = is_once
    return found


def _read(path: Path, lines: Sequence[tuple[int, str]]) -> RawLog | None:
    """Read all lines but the steps; None where Python has to look at them all."""
    if lines[0][0] != 1:
        return None
    try:
        log = rawlog.assemble(path, ((number, rawlog.parse_line(path, number, line)) for number, line in lines))
    except RawLogError:
        return None
    return None if log.steps else log  # a step that the pattern did not know


def _are_whole(log: RawLog, samples: Mapping[int, bool]) -> bool:
    indices = {sample.index for sample in log.samples}
    return len(indices) == len(log.samples) and samples.keys() <= indices and all(samples.values())
