"""Raw data of SpecForge: throughput and acceptance length of draft models, over batch sizes and shapes of the draft.

`{MODEL: {BENCHMARK: {"benchmark_name": ..., "results": [{"batch_size": 8, "steps": 3, "topk": 1, "num_draft_tokens": 4,
"metrics": [{"Name": DRAFT MODEL, "output_throughput": 498.4, "accept_length": 3.27}, ...]}]}}}`; layout as in its
`docs/spec_bundle/public/raw_data/data.json`. Each entry of `metrics` is a run without samples.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....core.records.schema import Run
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.formats import JsonFormat

_SETTINGS = form(
    Figure("batch_size", "run.batch_size", "count"),
    Figure("steps", "option.steps", "count"),
    Figure("topk", "option.topk", "count"),
    Figure("num_draft_tokens", "option.num_draft_tokens", "count"),
)
_METRICS = form(
    Figure("Name", "option.draft_model", "text"),
    Figure("output_throughput", "totals.tokens_per_s"),
    Figure("accept_length", "published.acceptance_length"),
)


class SpecForge(JsonFormat):
    """Reads one run per draft model, benchmark and setting."""

    name = "spec-forge"
    summary = "raw data of SpecForge: throughput and acceptance length of draft models"
    version = "1"
    keys = ("benchmark_name", "results", "num_draft_tokens", "output_throughput", "accept_length")

    def records(self, run_id: str, content: Fields) -> Iterator[Run]:
        """Yield the runs."""
        rows = [
            (model, benchmark, row)
            for model in content.content
            for benchmark in content.inner(model).content
            for row in content.at(model, benchmark).rows("results")
        ]
        number = 0
        for model, benchmark, row in rows:
            for metric in row.rows("metrics"):
                yield _run(f"{run_id}-{number:05d}", row, metric, {"model": model, "task": benchmark})
                number += 1


def _run(run_id: str, row: Fields, metric: Fields, about: dict[str, str]) -> Run:
    settings = gather(_SETTINGS, {name: value for name, value in row.content.items() if name != "metrics"})
    gathered = gather(_METRICS, metric.content)
    is_plain = gathered.published.get("acceptance_length") in ("1", "1.0")
    if is_plain:
        gathered.option.pop("draft_model", None)  # the words say that there is none
    return gathered.as_run(
        run_id,
        "sglang",
        **about,
        **settings.run,
        options=settings.option,
        extra=settings.extra,
        kind="autoregressive" if is_plain else "speculative",
        notes=(
            "the file has rates and acceptance lengths alone: they are kept as printed; tokens and times are not known",
        ),
    )
