"""The table that lm-evaluation-harness prints at its end, alone or in pages of text.

::

    hf (pretrained=NousResearch/Llama-2-7b-hf,dtype=bfloat16), gen_kwargs: (None), limit: None, num_fewshot: None, batch_size: 8
    |Tasks|Version|Filter|n-shot|Metric|   |Value|   |Stderr|
    |-----|------:|------|-----:|------|---|----:|---|-----:|
    |boolq|      2|none  |     0|acc   |↑  |0.778|±  |0.0073|

Version 0.3 has neither filter nor shots, 0.4.0 to 0.4.2 have no arrow. A row without a task belongs to the task above;
one that begins with a dash is a part of the group above, and is left to it.
"""  # noqa: E501 - as printed

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import Run, Totals
from ...core.sdk.logs.fields import Fields
from ...core.sdk.logs.pages import place_of, tables
from ...core.sdk.logs.runs import UNKNOWN, bare_run, digest_of
from ...core.sdk.logs.structure import page_of, text_of
from ...core.sdk.logs.text import malformed
from .lm_eval import arguments_of, share_of

_HEADS = tuple(
    (first, *rest, "Value", "", "Stderr")
    for first in ("Tasks", "Task", "Groups")
    for rest in (
        ("Version", "Filter", "n-shot", "Metric", ""), ("Version", "Filter", "n-shot", "Metric"), ("Version", "Metric"),
    )
)  # fmt: skip
_HEADER = re.compile(
    r"([\w-]{1,60}) \((.{0,1000}?)\), (?:gen_kwargs: \((.{0,300}?)\), )?"
    r"limit: (\S{1,20}), .{0,80}?batch_size: (\S{1,30})"
)


@dataclass(slots=True)
class _Task:
    """The rows of one task: value by metric and filter."""

    line: int
    above: Sequence[str]
    version: str
    shots: str | None
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class LmEvalTable(LogParser):
    """Reads one run per task or group of each table."""

    name = "lm-eval-table"
    summary = "the table that lm-evaluation-harness prints"
    version = "1"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a table with a score."""
        text = text_of(path)
        return "Stderr" in text and "Metric" in text and any(True for _ in _tasks(text.split("\n")))

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs.

        Raises:
            RawLogError: no row has a share from 0 to 1.
        """
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        at = 0
        found = list(_tasks(text.split("\n")))
        for part, tasks in enumerate(found):
            for name, task in tasks.items():
                share = share_of(Fields(path, task.line, task.metrics))
                if share is not None:
                    where = place_of(task.above, part, len(found))
                    yield _run(f"{base}-{at}", name, task, share, where)
                    at += 1
        if not at:
            raise malformed(path, 1, "Value", "no row has a share from 0 to 1")


def _tasks(lines: Sequence[str]) -> Iterator[dict[str, _Task]]:
    """Yield the tasks of each table, but for groups that repeat what the table above has of them."""
    before: dict[str, _Task] = {}
    for table in tables(lines, _HEADS):
        tasks: dict[str, _Task] = {}
        task: _Task | None = None
        for line, cells in table.rows:
            name = next(cells[first] for first in ("Tasks", "Task", "Groups") if first in cells)
            if name.startswith("-"):
                task = None
            elif name:
                task = tasks.setdefault(name, _Task(line, table.above, cells["Version"], cells.get("n-shot")))
            if task is not None:
                _take(task, cells)
        repeated = before.keys() if "Groups" in table.columns else ()
        before = {name: task for name, task in tasks.items() if task.metrics}
        if part := {name: task for name, task in before.items() if name not in repeated}:
            yield part


def _take(task: _Task, cells: dict[str, str]) -> None:
    key = f"{cells['Metric']},{cells['Filter']}" if "Filter" in cells else cells["Metric"]
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", cells["Value"]):
        task.metrics[key] = float(cells["Value"])
        task.errors[key] = cells["Stderr"].removeprefix("+-").strip()


def _run(run_id: str, name: str, task: _Task, share: tuple[str, float], where: dict[str, Any]) -> Run:
    headers = [found for line in task.above if "batch_size:" in line and (found := _HEADER.search(line))]
    header = headers[-1] if headers else None
    arguments = arguments_of(header[2]) if header else {}
    size = header[5] if header else ""
    metric, accuracy = share
    return bare_run(
        run_id,
        header[1] if header else "lm-eval",
        model=str(arguments.pop("pretrained", None) or arguments.pop("model", None) or UNKNOWN),
        quantisation=str(arguments.get("dtype") or UNKNOWN),
        task=name,
        task_version=task.version or None,
        batch_size=int(size) if re.fullmatch("[1-9][0-9]{0,6}", size) else None,
        options=arguments,
        conditions={
            **({"num_fewshot": task.shots} if task.shots else {}),
            **({"limit": header[4], "gen_kwargs": header[3]} if header else {}),
            **where,
        },
        source_line=task.line,
        settings={"published_metric": metric, "published_stderr": task.errors[metric]},
        totals=Totals(accuracy=accuracy),
        extra={"metrics": {key: value for key, value in task.metrics.items() if key != metric}},
        notes=("the table has four decimals, no times and no number of samples",),
    )


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of lm-eval's printed table."""
    return [LmEvalTable]
