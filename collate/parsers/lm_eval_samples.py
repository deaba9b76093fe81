"""Per-sample files of lm-evaluation-harness (`samples_<task>_<time>.jsonl`, written with `--log_samples`).

A line is a document under one of the task's filters: `doc_id`, `target`, `arguments`, `resps`, `filtered_resps`,
`filter`, `metrics` (names), hashes, and each metric under its own name. Layout as in EleutherAI/lm-evaluation-harness
(4e7e0d4), `lm_eval/evaluator.py` and `lm_eval/loggers/evaluation_tracker.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.records.schema import RecordedSampling, Run, Sample
from ...core.sdk.harness_metrics import PREFERRED_METRICS
from ...core.sdk.logs.fields import MOST_TOKENS, Fields, flat
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.json_files import read_rows
from ...core.sdk.logs.runs import bare_run

_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.jsonl")
_NO_FILTER = "none"
_READ = ("doc_id", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc")


class LmEvalSamples(JsonFormat):
    """Reads one run per file, whose documents are scored samples."""

    name = "lm-eval-samples"
    summary = "samples_*.jsonl of lm-evaluation-harness: a scored sample per document"
    version = "3"
    keys = ("doc_id", "filtered_resps", "doc_hash")

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and a sample for each document."""
        found = read_rows(path)
        chosen, metric = _choose(found.rows)
        named = _NAME.fullmatch(path.name)
        run_id = f"sha256-{found.digest}"
        yield bare_run(
            run_id,
            "lm-eval",
            started_at=_iso(named["date"]) if named else "",
            task=named["task"] if named else None,
            samples=None if found.cut else len(chosen),
            **_generation(chosen[0]),
            settings={"published_metric": metric},
            cut=found.cut,
            notes=(
                "the samples have no times, and name neither model nor backend; results_*.json beside them does",
                "task and date are those of the file's name" if named else "the file's name tells no task",
            ),
        )
        for index, row in enumerate(chosen):
            yield _sample(run_id, index, row, metric.split(",")[0])


def _iso(date: str) -> str:
    day, time = date.split("T")
    return f"{day}T{time.replace('-', ':')}"


def _filter(row: Fields) -> str:
    return row.text("filter") if row.has("filter") else _NO_FILTER


def _choose(rows: Sequence[Fields]) -> tuple[list[Fields], str]:
    """Return the rows of one filter, and the metric with it: the first of a list, else the first that is a share."""
    by_filter: dict[str, list[Fields]] = {}
    for row in rows:
        by_filter.setdefault(_filter(row), []).append(row)
    told = [f"{name},{key}" for key, of_key in by_filter.items() for name in _metrics(of_key[0])]
    for metric in [*(name for name in PREFERRED_METRICS if name in told), *told]:
        name, key = metric.split(",", 1)
        if all(_is_share(row.content.get(name)) for row in by_filter[key]):
            return by_filter[key], metric
    raise rows[0].fail("metrics", "no metric with a share from 0 to 1 in every row")


def _metrics(row: Fields) -> list[str]:
    names = row.content.get("metrics")
    return [name for name in names if isinstance(name, str) and "," not in name] if isinstance(names, list) else []


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _sample(run_id: str, index: int, row: Fields, metric: str) -> Sample:
    prompt = _first_request(row).get("arg_0")
    return Sample(
        run_id=run_id,
        index=index,
        sample_id=f"doc {row.count('doc_id')}",
        prompt=prompt if isinstance(prompt, str) else None,
        output_tokens=None,
        text=_first_text(row.content.get("resps")),
        reference=str(row.content["target"]) if row.has("target") else None,
        extracted=_first_text(row.content.get("filtered_resps")),
        score=float(row.content[metric]),
        extra=row.beyond(*_READ, metric, *_metrics(row)),
        scores={
            name: float(row.content[name])
            for name in _metrics(row)
            if name != metric and _is_share(row.content.get(name))
        },
    )


def _generation(row: Fields) -> dict[str, Any]:
    """Return how answers were generated, which every row of such a task has; nothing where choices were scored."""
    told = _first_request(row).get("arg_1")
    return generation_of(told) if isinstance(told, dict) else {}


def generation_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run that the harness's settings of generation fill; the others are conditions."""
    left = dict(told)
    temperature, limit, stop = left.get("temperature"), left.get("max_gen_toks"), left.get("until")
    found: dict[str, Any] = {}
    if left.get("do_sample") is False:
        found["sampling"] = RecordedSampling(temperature=0.0)
    elif isinstance(temperature, int | float) and not isinstance(temperature, bool) and 0 <= temperature < 1e6:
        found["sampling"] = RecordedSampling(temperature=left.pop("temperature"))
    if isinstance(limit, int) and not isinstance(limit, bool) and 0 < limit <= MOST_TOKENS:
        found["max_new_tokens"] = left.pop("max_gen_toks")
    texts = [stop] if isinstance(stop, str) else stop
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        found["stop"] = tuple(texts)
        left.pop("until")
    return {**found, "conditions": flat(left)}


def _first_request(row: Fields) -> Mapping[str, Any]:
    """Return the arguments of the first request: prompt and settings; empty where the row has none of its own form."""
    arguments = row.content.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, dict) else None
    return first if isinstance(first, dict) else {}


def _first_text(value: object) -> str | None:
    """Return the text that a nest of lists begins with; None for log-probabilities."""
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None
