"""Data of the ML.ENERGY leaderboard: throughput, latency and energy of a model on a task, per configuration.

`{"model_id": ..., "task": ..., "weight_precision": ..., "configurations": [{"gpu_model": "H100", "num_gpus": 1,
"max_num_seqs": 16, "avg_batch_size": 15.99, "output_throughput_tokens_per_sec": 1344.8, "energy_per_token_joules": 0.4,
"median_itl_ms": 11.9, "parallelization": {...}, ...}]}`; layout as in ml-energy/leaderboard, `public/data/models/`.
Each configuration is a run without samples. Files of image and video models have no tokens and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Environment, Run
from ....core.sdk.logs.fields import Fields, flat
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.json_files import read_each
from ....core.sdk.logs.structure import first_object, holds

_FIGURES = form(
    Figure("model_id", "run.model", "text"),
    Figure("task", "run.task", "text"),
    Figure("weight_precision", "run.quantisation", "text"),
    Figure("num_gpus", "option.num_gpus", "count"),
    Figure("max_num_seqs", "option.max_num_seqs", "count"),
    Figure("max_num_batched_tokens", "option.max_num_batched_tokens", "count"),
    *(
        Figure(f"parallelization.{name}", f"option.{name}", "count")
        for name in ("tensor_parallel", "expert_parallel", "data_parallel")
    ),
    Figure("output_throughput_tokens_per_sec", "totals.tokens_per_s"),
    Figure("avg_batch_size", "published.mean_batch_size"),
    Figure("avg_output_len", "published.mean_output_tokens"),
    Figure("avg_power_watts", "published.mean_power_w"),
    Figure("energy_per_token_joules", "published.energy_per_token_j"),
    Figure("energy_per_request_joules", "published.energy_per_request_j"),
    *(Figure(f"{name}_itl_ms", f"published.{name}_itl_ms") for name in ("median", "p90", "p95", "p99")),
)
_OF_MODEL = ("model_id", "task", "weight_precision", "architecture", "total_params_billions")
_NOT_KEPT = ("output_length_distribution", "gpu_model", "parallelization")


class MlEnergy(LogParser):
    """Reads one run per configuration."""

    name: ClassVar[str] = "ml-energy"
    summary: ClassVar[str] = "data of the ML.ENERGY leaderboard: a model on a task, per configuration"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a configuration with its tokens and energy."""
        names = ("model_id", "configurations", "energy_per_token_joules", "output_throughput_tokens_per_sec")
        return holds(path, head, *names) and "model_id" in first_object(path)  # those of a task repeat them

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs."""
        for content, digest in read_each(path):
            of_model = {name: content.anything(name) for name in _OF_MODEL}
            for at, row in enumerate(content.rows("configurations")):
                yield _run(f"sha256-{digest}-{at:04d}", row, of_model)


def _run(run_id: str, row: Fields, of_model: Mapping[str, object]) -> Run:
    found = flat({name: value for name, value in row.content.items() if name not in _NOT_KEPT})
    found |= flat({"parallelization": row.at("parallelization").content})
    gpu = row.text("gpu_model") if row.has("gpu_model") else None
    return gather(_FIGURES, {**of_model, **found}).as_run(
        run_id,
        "ml-energy",
        kind="autoregressive",
        environment=Environment(gpu=(gpu,)) if gpu else None,
        notes=(
            "means and quantiles alone, without tokens and times: they are kept as printed; the energy is that of all "
            "GPUs while the batch was full",
        ),
    )
