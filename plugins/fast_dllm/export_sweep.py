"""A sweep as the table that the published guide asks for: a row per configuration, means over its rounds."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ... import UsageError, csv_cell, own_path_part, write_whole
from ...core.contract.exporter import Exporter
from ...core.records.store import Store

COLUMNS = ("run_name", "block_length", "steps", "accuracy", "throughput")

_SQL = """
SELECT m.experiment, m.cell_id, any_value(coalesce(m.options->>'block_length', m.settings->>'block_length'))::BIGINT
        AS block_length,
    any_value(m.options->>'steps')::BIGINT AS steps,
    any_value(coalesce((m.options->>'gen_length')::BIGINT, m.max_new_tokens)) AS canvas,
    avg(m.accuracy) AS accuracy, avg(m.e2e_tokens_per_s) AS throughput
FROM run_metrics m
WHERE m.backend = 'fast-dllm' AND m.status = 'ok' AND m.experiment = coalesce($experiment, m.experiment)
GROUP BY m.experiment, m.cell_id ORDER BY m.experiment, block_length, steps, m.cell_id
"""


def write(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write ``<experiment>.csv``. Accuracy is a share from 0 to 1, throughput in tokens/s with the prefill.

    Where no number of steps was asked for, the column holds the number of blocks, its smallest legal value; it is empty
    where a log has neither steps nor the limit that tells the number of blocks.

    Raises:
        UsageError: there is no finished round of the backend.
    """
    rows = store.dicts(_SQL, {"experiment": experiment})
    if not rows:
        raise UsageError("no finished round of backend 'fast-dllm' to write", code="no-results")
    tables: dict[str, list[list[object]]] = {}
    for row in rows:
        block = row["block_length"]
        steps = row["steps"] or (-(-row["canvas"] // block) if block and row["canvas"] else None)
        name = "_".join(f"{letter}{value}" for letter, value in (("B", block), ("S", steps)) if value is not None)
        line = [name, block, steps, row["accuracy"], row["throughput"]]
        tables.setdefault(row["experiment"], []).append(["" if value is None else value for value in line])
    return [write_whole(folder / f"{own_path_part(name)}.csv", _csv(lines)) for name, lines in tables.items()]


def _csv(lines: list[list[object]]) -> str:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *(map(csv_cell, line) for line in lines)])
    return table.getvalue()


EXPORTER = Exporter("diffusion-sweep", "CSV of a block or step sweep: run_name, block_length, steps, ...", write)
