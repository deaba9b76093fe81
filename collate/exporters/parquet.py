"""The store as Parquet: `runs.parquet`, `samples.parquet`, `steps.parquet`, for pandas, Polars, DuckDB and Spark.

Columns are those of the tables, and beside them every figure of `docs/metrics.md` that a run or a sample has. Nested
values (options, settings, environment, totals, ...) are JSON texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.contract.exporter import Exporter
from ...core.contract.hookspecs import hookimpl
from ...core.files import whole_file
from ...core.records.store import Store

_OF = "WHERE r.experiment = coalesce($experiment, r.experiment) ORDER BY r.experiment, r.cell_id, r.round, r.run_id"
_FILES = {
    "runs": f"SELECT r.* FROM run_metrics r {_OF}",
    "samples": f'SELECT s.* FROM sample_metrics s JOIN runs r ON r.run_id = s.run_id {_OF}, s."index"',
    "steps": f'SELECT t.* FROM steps t JOIN runs r ON r.run_id = t.run_id {_OF}, t.sample, t."index"',
}


def export_parquet(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write the three files, each whole or not at all; all experiments where none is named."""
    written = []
    for name, sql in _FILES.items():
        path = folder / f"{name}.parquet"
        with whole_file(path) as scratch:
            store.write_parquet(sql, scratch, {"experiment": experiment})
        written.append(path)
    return written


PARQUET = Exporter("parquet", "runs, samples and steps with every figure, a file each", export_parquet)


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the format."""
    return [PARQUET]
