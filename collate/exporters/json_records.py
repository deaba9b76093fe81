"""The store as one JSON document: runs with their samples, and those with their steps.

::

    {"format": "decodebench", "schema_version": 2, "decodebench_version": "0.1.0", "runs": [
    {"run": {"run_id": ..., ...}, "metrics": {"decode_tokens_per_s": ...}, "samples": [
      {"index": 0, ..., "metrics": {...}, "steps": [{"index": 0, "t_s": ..., "tokens": 1}, ...]}, ...]}, ...]}

Records have the fields that `decodebench schema` describes; `metrics` holds the figures of `docs/metrics.md` that the
record has. Of a step what is not known is left out. Each run stands on a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...core.contract.exporter import Exporter
from ...core.contract.hookspecs import hookimpl
from ...core.files import whole_file
from ...core.records.metrics import METRICS
from ...core.records.schema import SCHEMA_VERSION, RecordedStep, Run, Sample
from ...core.records.store import Store
from ...core.records.tables import columns_of

FILE_NAME = "decodebench.json"

Json = dict[str, Any]

_RUNS = """
SELECT * FROM run_metrics WHERE experiment = coalesce($experiment, experiment)
ORDER BY experiment, cell_id, round, run_id
"""


def export_json(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write the document, whole or not at all; all experiments where none is named."""
    path = folder / FILE_NAME
    about = {
        "format": "decodebench",
        "schema_version": SCHEMA_VERSION,
        "decodebench_version": version("decodebench"),
    }
    with whole_file(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        file.write(_text(about).removesuffix("}") + ', "runs": [')
        for at, run in enumerate(store.dicts(_RUNS, {"experiment": experiment})):
            file.write(",\n" if at else "\n")
            file.write(_text(_run(run, list(_samples(store, run["run_id"])))))
        file.write("\n]}\n")
    return [path]


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _run(row: Json, samples: list[Json]) -> Json:
    return {"run": _fields("runs", Run, row), "metrics": _figures(Run, row), "samples": samples}


def _samples(store: Store, run_id: str) -> Iterator[Json]:
    steps: dict[int, list[Json]] = {}
    for row in store.dicts('SELECT * FROM steps WHERE run_id = ? ORDER BY sample, "index"', [run_id]):
        step = _fields("steps", RecordedStep, row)
        at = step.pop("sample")
        del step["run_id"]
        steps.setdefault(at, []).append({name: value for name, value in step.items() if value is not None})
    for row in store.dicts('SELECT * FROM sample_metrics WHERE run_id = ? ORDER BY "index"', [run_id]):
        sample = _fields("samples", Sample, row)
        del sample["run_id"]
        yield sample | {"metrics": _figures(Sample, row), "steps": steps.get(row["index"], [])}


def _figures(model: type[Run | Sample], row: Json) -> Json:
    """Return the figures that a record has and that are no field of its own."""
    return {name: row[name] for name in METRICS if name not in model.model_fields and row.get(name) is not None}


def _fields(table: str, model: type[Run | Sample | RecordedStep], row: Json) -> Json:
    """Return the fields of the schema; what is JSON in the store as what it holds."""
    nested = {name for name, kind in columns_of(table).items() if kind == "JSON"}
    return {
        name: json.loads(row[name]) if name in nested and row[name] is not None else row[name]
        for name in model.model_fields
    }


JSON = Exporter("json", "one document: runs with samples, steps and every figure", export_json)


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the format."""
    return [JSON]
