"""What `python -m mlc_llm.bench` writes: a table of averages, and with `--debug-dump` every request.

The table (`mlc_benchmark.csv`) has a row per setting, `exec_feature`, with quantiles and means of each figure. The dump
(`mlc_benchmark_debug_dump.log`) is one object: setting to list of requests, by the client's clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample, Totals
from ....core.sdk.logs.fields import Fields, count, flat, number
from ....core.sdk.logs.json_files import read_object
from ....core.sdk.logs.runs import bare_run, digest_of
from ....core.sdk.logs.tables import column_names, read_table
from ....core.sdk.logs.text import head_text, malformed, read_text
from .model_names import split_name

_COLUMNS = ("num_gpus", "duration", "num_total_requests", "num_completed_requests", "total_output_tokens")
_FEATURE = "exec_feature"
_ASKED = ("messages", "model", "max_tokens", "temperature", "top_p", "user", "id")
T = TypeVar("T")
_NO_SERVER = "the server's device and machine are not in the file; the tool can ask servers other than MLC's"


class BenchTable(LogParser):
    """Reads one run per row."""

    name = "mlc-bench"
    summary = "mlc_benchmark.csv of mlc_llm.bench: averages"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the columns."""
        names = column_names(head)
        return set(_COLUMNS) <= set(names) and "end_to_end_latency_s.mean" in names

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs.

        Raises:
            RawLogError: a row is cut or a value is no number; names line and field.
        """
        text = read_text(path)
        names, rows = read_table(path, text)
        if missing := [name for name in _COLUMNS if name not in names]:
            raise malformed(path, 1, "columns", f"no {', '.join(missing)}")
        digest = digest_of(text)
        asked = {name: name.removeprefix(f"{_FEATURE}.") for name in names if name.startswith(_FEATURE)}
        means = {name: f"published_{name}" for name in names if name.endswith(".mean")}
        for at, (line, row) in enumerate(rows):
            options, settings = ({to: row[name] for name, to in some.items() if row[name]} for some in (asked, means))
            yield _row_run(f"sha256-{digest}-{at}", path, line, row, options, settings)


def _row_run(
    run_id: str,
    path: Path,
    line: int,
    row: Mapping[str, str],
    options: Mapping[str, str],
    settings: Mapping[str, str],
) -> Run:
    requests, done = (count(path, line, name, row[name]) for name in ("num_total_requests", "num_completed_requests"))
    if done > requests:
        raise malformed(path, line, "num_completed_requests", f"{done} of {requests} requests")
    return bare_run(
        run_id,
        "mlc",
        options={**options, "num_gpus": count(path, line, "num_gpus", row["num_gpus"])},
        samples=requests,
        failure=None if done else f"none of {requests} requests ended",
        settings=settings,
        totals=Totals(
            samples=done or None,
            output_tokens=count(path, line, "total_output_tokens", row["total_output_tokens"]),
            wall_s=number(path, line, "duration", row["duration"]) or None,
        ),
        notes=(
            "averages over requests that ran at the same time: the speed is the server's throughput, and latencies of "
            "single requests are in the debug dump alone",
            *([f"{requests - done} of {requests} requests did not end"] if done < requests else []),
            _NO_SERVER,
        ),
    )


class BenchDump(LogParser):
    """Reads one run per setting; every request is a sample."""

    name = "mlc-bench-dump"
    summary = "mlc_benchmark_debug_dump.log of mlc_llm.bench --debug-dump: every request"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the first request."""
        text = head_text(head).lstrip()
        return bool(re.match(r'\{\s*"[^\n]{1,2000}"\s*:\s*\[\s*\{\s*"request_id"', text)) and '"chat_cmpl"' in text

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the runs and their requests.

        Raises:
            RawLogError: the file is cut, or a value is of the wrong kind; names the field.
        """
        content, digest = read_object(path)
        for at, setting in enumerate(content.content):
            run_id = f"sha256-{digest}-{at}"
            records = content.rows(setting)
            samples = [_request(run_id, index, record) for index, record in enumerate(records)]
            if not samples:
                raise content.fail("requests", "a setting without any request")
            yield _dump_run(run_id, setting, records, samples)
            yield from samples


def _dump_run(run_id: str, setting: str, records: Sequence[Fields], samples: Sequence[Sample]) -> Run:
    asked = records[0].inner("chat_cmpl")
    failed = [sample for sample in samples if sample.status == "failed"]
    is_lost = len(failed) == len(samples)
    limit = _common(records, "max_tokens", Fields.tokens)
    model, quantisation = split_name(asked.text("model")) if asked.has("model") else ("unknown", "unknown")
    return bare_run(
        run_id,
        "mlc",
        model=model,
        quantisation=quantisation,
        options=_feature(setting),
        samples=len(samples),
        failure=f"all {len(samples)} requests failed: {failed[0].reason}" if is_lost else None,
        max_new_tokens=limit or None,
        conditions=_conditions(records),
        sampling={name: _common(records, name, Fields.number) for name in ("temperature", "top_p")},
        notes=(
            "the client's clock; requests that ran at the same time wait for one another",
            *([f"{len(failed)} requests failed"] if failed and not is_lost else []),
            _NO_SERVER,
        ),
    )


def _common(records: Sequence[Fields], name: str, read: Callable[[Fields, str], T]) -> T | None:
    """Return what all requests ask for; None where they differ, or do not say."""
    values: set[T | None] = {record.inner("chat_cmpl").read({name: read}).get(name) for record in records}
    return values.pop() if len(values) == 1 else None


def _conditions(records: Sequence[Fields]) -> dict[str, JsonValue]:
    """Return what else all requests ask for alike."""
    asked = [flat(record.inner("chat_cmpl").beyond(*_ASKED)) for record in records]
    alike = [name for name in asked[0] if all(each.get(name) == asked[0][name] for each in asked)]
    return {f"request.{name}": asked[0][name] for name in alike}


def _request(run_id: str, index: int, record: Fields) -> Sample:
    figures = record.inner("metrics")
    tokens, total_s = figures.optional(figures.tokens, "output_tokens") or 0, figures.number("end_to_end_latency_s")
    first_s = figures.optional(figures.number, "time_to_first_token_s")
    if first_s is not None and first_s > total_s:
        raise figures.fail("time_to_first_token_s", f"{first_s:g} s are more than the whole {total_s:g} s")
    is_ok = figures.flag("success")
    is_timed = tokens > 1 and first_s is not None and total_s > first_s
    error = str(record.content.get("error_msg") or "no reason told").strip().split("\n")[-1]
    return Sample(
        run_id=run_id,
        index=index,
        sample_id=f"request-{record.count('request_id')}" if record.has("request_id") else None,
        prompt_tokens=figures.optional(figures.tokens, "input_tokens"),
        output_tokens=tokens,
        text=record.optional(record.text, "output_str"),
        duration_s=total_s,
        first_token_s=first_s,
        decode_tokens=tokens - 1 if is_timed else None,
        decode_s=total_s - first_s if is_timed and first_s is not None else None,
        status="ok" if is_ok else "failed",
        reason=None if is_ok else error[:200],
    )


def _feature(setting: str) -> dict[str, JsonValue]:
    """Return the setting's names and values; the tool writes it as JSON, or calls it by its number."""
    try:
        found = json.loads(setting)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {_FEATURE: setting}
    return {name: value for name, value in found.items() if isinstance(value, str | int | float | bool)}
