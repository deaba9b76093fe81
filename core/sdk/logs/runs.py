"""The run that another program's log tells of: names of unknown things, ids by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ...records.schema import Run, Sample

UNKNOWN = "unknown"


def bare_run(run_id: str, backend: str, **known: Any) -> Run:  # noqa: ANN401 - fields of Run, which checks them
    """Return the run of a log: what is not known is unknown or empty."""
    nothing: dict[str, Any] = {
        **dict.fromkeys(("model", "quantisation", "device"), UNKNOWN),
        **{"started_at": "", "samples": 0, "warmup": 0, "max_new_tokens": 1},
    }
    return Run(run_id=run_id, experiment="", cell_id="", round=0, backend=backend, **{**nothing, **known})


def longest_output(samples: Iterable[Sample]) -> int:
    """Return the tokens of the longest answer, at least 1: what is known of a limit that a log does not have."""
    return max([1, *(sample.output_tokens or 0 for sample in samples)])


def digest_of(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a log's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
