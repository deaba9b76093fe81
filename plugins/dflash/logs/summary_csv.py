"""Tables that the published DFlash sweep scripts write: a block-size sweep, several blocks in one process, a
fixed-prefix sweep.

::

    dataset,max_samples,block_size,speedup,tau,gpu_name,cuda_version,torch_version,baseline_total_wall_s,...
    aime25,30,16,5.98,7.46,"NVIDIA A100 80GB PCIe","12.8","2.9.1",2406.121140,...

Columns are known by their names, so that older headers read alike. ``NA`` is no value; ``ERROR`` and ``DRY_RUN`` mark
a row without a result. Each row is a run without samples, its baseline another; the figures stand in ``Run.settings``
under the keys that a console log's have.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run
from ....core.sdk.logs.fields import count, number, percentages
from ....core.sdk.logs.runs import digest_of
from ....core.sdk.logs.text import head_text, malformed, read_text
from .runs import BASELINE, environment, make_run, missing_note

_HEADER = {"dataset", "max_samples", "block_size", "tau", "log_path"}
_MULTI_BLOCK = _HEADER - {"log_path"} | {"world_size"}
_COUNTS = (
    "block_size", "fixed_prefix_len", "sparse_max_positions", "branch_top_k", "max_candidates", "world_size",
    "spec_total_profiled_cycles",
)  # fmt: skip
_TEXTS = (
    "dataset", "max_samples", "candidate_mode", "gpu_name", "cuda_version", "torch_version", "acceptance_histogram",
    "baseline_log_path", "vanilla_log_path", "log_path", "output_jsonl_path", "cycle_jsonl_path",
)  # fmt: skip
_OPTIONS = ("candidate_mode", "fixed_prefix_len", "sparse_max_positions", "branch_top_k", "max_candidates")
_FACTS = ("dataset", "max_samples", "block_size", "gpu_name", "cuda_version", "torch_version")
_FIGURES = {
    "total_wall_s": "published_total_wall_s",
    "tokens_per_sec": "published_tokens_per_s",
    "tpot": "published_tpot_s",
    "ttft": "published_ttft_s",
}
"""Column without its mode -> setting."""
_SETTINGS = {
    "speedup": "published_tpot_speedup",
    "tau": "published_tau_mean",
    "spec_avg_target_decode_s": "published_avg_target_decode_s",
    "spec_avg_draft_decode_s": "published_avg_draft_decode_s",
    "spec_target_share": "published_target_share_decode",
    "spec_draft_share": "published_draft_share_decode",
    "spec_total_profiled_cycles": "published_total_profiled_cycles",
    **{f"speculative_{name}": key for name, key in _FIGURES.items()},
}
"""Column -> setting; any other column gets its own name behind ``published_``."""
_OTHERS = ("baseline", "vanilla")  # runs whose figures stand beside a row's own
_NA = ("NA", "N/A", "")
_MARKS = {"ERROR": "failed", "DRY_RUN": "skipped"}
_MISSING = ("model", "draft", "samples", "token limit", "sampling", "device", "number format")
_NO_SAMPLE = "aggregates of a sweep's table: the figures are settings, there is no sample"
_HISTOGRAM = re.compile(r'"?(\[[^\[\]]*\])"?')


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: every column that has a value, checked."""

    line: int
    values: Mapping[str, str]
    marks: Mapping[str, str]  # column -> ERROR or DRY_RUN

    def figures(self, mode: str) -> dict[str, str]:
        """Return the figures of a run that stands beside the row's own, as settings."""
        named = ((f"{mode}_{name}", key) for name, key in _FIGURES.items())
        return {key: self.values[name] for name, key in named if name in self.values}


class SummaryTable(LogParser):
    """Reads one run per row, and one for each distinct baseline; none has samples."""

    name = "dflash-summary"
    summary = "summary.csv of a DFlash sweep: block sizes, fixed prefixes"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look at the column names."""
        names = set(head_text(head).split("\n", 1)[0].split(","))
        return names >= _HEADER or names >= _MULTI_BLOCK

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs of each row.

        Raises:
            RawLogError: a row has more or fewer fields than the header, or a value is of the wrong kind.
        """
        text = read_text(path)
        digest = digest_of(text)
        rows, cut = _rows(path, text)
        runs = list(_runs(path, rows, cut)) or [
            ("unknown", {}, {"cut": cut or "only a header: the sweep wrote no row"})
        ]
        for position, (mode, options, fields) in enumerate(runs):
            yield make_run(f"sha256-{digest}-{position}", mode, options, **fields)


def _rows(path: Path, text: str) -> tuple[list[_Row], str | None]:
    *lines, rest = text.split("\n")
    header = lines[0].split(",") if lines else rest.split(",")
    rows = [
        _row(path, number, header, fields)
        for number, line in enumerate(lines[1:], start=2)
        if line.strip() and (fields := _split(path, number, line))
    ]
    if not rest or not lines:
        return rows, None
    return rows, f"the table ends inside its line {len(lines) + 1}, which is left out: it was cut"


def _split(path: Path, number: int, line: str) -> list[str]:
    """Split a line at its commas; not at those of a list, which one of the scripts leaves bare."""
    histogram = _HISTOGRAM.search(line)
    bare = line if histogram is None else line.replace(histogram[0], "[]", 1)
    try:
        fields = next(csv.reader([bare], strict=True), [])
    except csv.Error as error:
        raise malformed(path, number, "line", f"no CSV: {error}") from error
    return [histogram[1] if histogram and field == "[]" else field for field in fields]


def _row(path: Path, line: int, header: Sequence[str], fields: Sequence[str]) -> _Row:
    if len(fields) != len(header):
        raise malformed(path, line, "line", f"{len(fields)} fields under {len(header)} columns")
    named = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    told = {name: field for name, field in named.items() if field not in _NA and field not in _MARKS}
    for name, field in told.items():
        if name in _COUNTS:
            count(path, line, name, field, least=int(name == "block_size"))
        elif name not in _TEXTS:
            number(path, line, name, field)
    return _Row(line, told, {name: field for name, field in named.items() if field in _MARKS})


_RunParts = tuple[str, Mapping[str, JsonValue], dict[str, Any]]
"""Mode, options and further fields of a run."""


def _runs(path: Path, rows: Sequence[_Row], cut: str | None) -> Iterator[_RunParts]:
    seen: list[tuple[str, Mapping[str, str]]] = []
    for row in rows:
        for mode in _OTHERS:
            figures = row.figures(mode)
            if figures and (mode, figures) not in seen:
                seen.append((mode, figures))
                yield mode, BASELINE if mode == "baseline" else _block_of(row), _fields(row, figures, cut)
        yield "speculative", _own_options(row), _own_fields(path, row, cut)


def _block_of(row: _Row) -> dict[str, JsonValue]:
    return {"block_size": int(row.values["block_size"])} if "block_size" in row.values else {}


def _own_options(row: _Row) -> dict[str, JsonValue]:
    values = {name: row.values[name] for name in _OPTIONS if name in row.values}
    return {**_block_of(row), **{n: int(v) if n in _COUNTS else v for n, v in values.items()}}


def _own_fields(path: Path, row: _Row, cut: str | None) -> dict[str, Any]:
    settings: dict[str, str] = {}
    notes = []
    beside = {f"{mode}_{name}" for mode in _OTHERS for name in _FIGURES}
    for name, value in row.values.items():
        if name == "acceptance_histogram":
            if value.endswith("]"):
                settings["published_tau_shares"] = json.dumps(percentages(path, row.line, name, value))
            else:
                notes.append("the histogram is cut off at the end of the log's line: left out")
        elif name not in beside and name not in _OPTIONS and name not in _FACTS:
            settings[_SETTINGS.get(name, f"published_{name}")] = value
    fields = _fields(row, settings, cut, notes)
    if row.marks:
        mark = "ERROR" if "ERROR" in row.marks.values() else "DRY_RUN"
        columns = ", ".join(name for name, found in row.marks.items() if found == mark)
        return {**fields, "cut": None, "status": _MARKS[mark], "reason": f"the sweep recorded {mark}: {columns}"}
    if "tau" not in row.values:
        reason = "tau is NA: the run's log had no such line"
        return {**fields, "cut": f"{cut}; {reason}" if cut else reason}
    return fields


def _fields(row: _Row, settings: Mapping[str, str], cut: str | None, notes: Sequence[str] = ()) -> dict[str, Any]:
    samples = row.values.get("max_samples", "")
    return {
        "cut": cut,
        "settings": settings,
        "notes": (
            _NO_SAMPLE,
            *notes,
            missing_note(_MISSING),
        ),
        "task": row.values.get("dataset"),
        "samples": int(samples) if re.fullmatch("[0-9]{1,9}", samples) else None,
        "environment": environment(*(row.values.get(name) for name in ("gpu_name", "cuda_version", "torch_version"))),
    }
