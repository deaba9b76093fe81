"""The run that another program's log tells of: names of unknown things, ids by content."""

from __future__ import annotations

import hashlib
from typing import Any

from ...records.schema import Run

UNKNOWN = "unknown"


def bare_run(run_id: str, backend: str, **known: Any) -> Run:  # noqa: ANN401 - fields of Run, which checks them
    """Return the run of a log: names that are not known are ``unknown``, everything else is None or empty."""
    nothing: dict[str, Any] = {**dict.fromkeys(("model", "quantisation", "device"), UNKNOWN), "started_at": ""}
    return Run(run_id=run_id, experiment="", cell_id="", round=0, backend=backend, **{**nothing, **known})


def digest_of(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a log's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
