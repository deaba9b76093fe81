"""The run that a published result tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from ....core.records.schema import Run


def make_run(run_id: str, *, options: Mapping[str, JsonValue], **known: Any) -> Run:  # noqa: ANN401 - fields of Run
    """Return a run of the backend; what is not told is unknown or empty."""
    unknown = dict.fromkeys(("model", "quantisation", "device"), "unknown")
    empty = {"started_at": "", "samples": 0, "max_new_tokens": 1}
    return Run(
        run_id=run_id,
        experiment="",
        cell_id="",
        round=0,
        backend="fast-dllm",
        kind="diffusion",
        options=dict(options),
        warmup=0,
        **{**unknown, **empty, **known},
    )
