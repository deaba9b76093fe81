"""The store as CSV: one file per backend, in the column order that existing notebooks read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.contract.exporter import Exporter
from ...core.contract.hookspecs import hookimpl
from ...core.files import whole_file
from ...core.foreign_text import csv_cell, own_path_part
from ...core.records.store import Store

_SQL = """
SELECT t."index" AS step, 1e3 * t.enqueue_s AS enqueue_latency_ms, 1e3 * t.step_s AS total_latency_ms,
    t.tokens / nullif(t.step_s, 0) AS tokens_per_sec,
    t.bytes_read / nullif(t.step_s, 0) / 1e9 AS memory_throughput_gb_s,
    r.weight_bytes::DOUBLE * t.forwards / nullif(t.step_s, 0) / 1e9 AS param_throughput_gb_s,
    t.text AS generated_text, r.environment->>'platform' AS platform, r.environment->>'release' AS release, r.device,
    r.environment->>'username' AS username, r.hostname, r.size, r.quantisation AS quantize, r.seed, r.run_id AS uuid,
    r.backend, r.model, r.experiment, r.cell_id, r.round, r.status, t.sample, s.sample_id, s.is_warmup,
    t.tokens AS tokens_in_step, t.block_size, t.drafted, t.accepted, t.candidates, t.forwards
FROM steps t JOIN runs r ON r.run_id = t.run_id JOIN samples s ON s.run_id = t.run_id AND s."index" = t.sample
WHERE r.backend = $backend AND r.experiment = coalesce($experiment, r.experiment)
ORDER BY r.experiment, r.cell_id, r.round, r.run_id, t.sample, t."index"
"""


_BACKENDS = "SELECT DISTINCT backend FROM runs WHERE experiment = coalesce($experiment, experiment) ORDER BY backend"


def export_csv(
    store: Store, folder: Path, *, experiment: str | None = None, cumulative_text: bool = False
) -> list[Path]:
    """Write ``<backend>.csv`` for every backend, one row per step; each file appears whole or not at all.

    Args:
        store: an open store.
        folder: where the files go; made if needed.
        experiment: the only experiment to write; all where it is None.
        cumulative_text: put all text so far into ``generated_text``, not the step's own piece.

    Returns:
        The files. Latencies are in milliseconds, throughputs in decimal GB/s, as the column names say. A text that a
        spreadsheet would take for a formula gets a leading apostrophe.
    """
    written = []
    for (backend,) in store.query(_BACKENDS, {"experiment": experiment})[1]:
        columns, rows = store.query(_SQL, {"backend": backend, "experiment": experiment})
        path = folder / f"{own_path_part(backend)}.csv"
        _write(path, columns, _cumulated(columns, rows) if cumulative_text else rows)
        written.append(path)
    return written


def _write_all(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    return export_csv(store, folder, experiment=experiment)


CSV = Exporter("csv", "a row per step, one file per backend, for notebooks and spreadsheets", _write_all)


def _cumulated(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    at, uuid, sample = (columns.index(name) for name in ("generated_text", "uuid", "sample"))
    current, text = None, ""
    for row in rows:
        if (row[uuid], row[sample]) != current:
            current, text = (row[uuid], row[sample]), ""
        text += row[at] or ""
        yield (*row[:at], text, *row[at + 1 :])


def _write(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]] | Iterator[tuple[Any, ...]]) -> None:
    with whole_file(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(map(csv_cell, row))


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the toolkit's own format."""
    return [CSV]
