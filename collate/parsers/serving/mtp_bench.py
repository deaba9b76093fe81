"""Results of mtp-bench, a script that asks llama-server nine prompts and keeps what its timings say of drafts.

`{"mode": "mtp-2", "spec_flags": "--spec-draft-n-max 2", "results": [{"name": "code_python", "wall_s": 15.461,
"predicted_n": 192, "predicted_per_second": 12.88, "draft_n": 140, "draft_n_accepted": 120}]}`; layout as in am17an's
gist and kyuz0/amd-strix-halo-toolboxes, `benchmark/mtp-bench.py` (d1a34be). The time is the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.engine_counters import EngineCounters
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.json_files import read_each
from ....core.sdk.logs.runs import UNKNOWN
from ....core.sdk.logs.structure import holds

_RUN = form(
    Figure("timestamp", "run.started_at", "text"),
    Figure("toolbox", "condition.toolbox", "text"),
    Figure("mode", "condition.mode", "text"),
    Figure("spec_flags", "condition.spec_flags", "text"),
)
_SAMPLE = form(
    Figure("name", "sample.sample_id", "text"),
    Figure("wall_s", "sample.duration_s", "s"),
    Figure("prompt_n", "sample.prompt_tokens", "count"),
    Figure("prompt_ms", "sample.prefill_s", "ms"),
    Figure("predicted_n", "sample.output_tokens", "count"),
    Figure("predicted_per_second", "engine.tokens_per_s"),
)
_DRAFTED = re.compile(r"-draft(?:-n)?-max[ =](\d{1,3})\b")


class MtpBench(LogParser):
    """Reads one run per file; every prompt is a sample."""

    name: ClassVar[str] = "mtp-bench"
    summary: ClassVar[str] = "results of mtp-bench.py, which asks llama-server"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a prompt's figures."""
        return holds(path, head, "results", "wall_s", "predicted_n", "predicted_per_second", "draft_n_accepted")

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and its samples."""
        for content, digest in read_each(path):
            rows = content.rows("results")
            samples = [_sample(f"sha256-{digest}", at, row) for at, row in enumerate(rows)]
            yield _run(f"sha256-{digest}", content, samples)
            yield from samples


def _run(run_id: str, content: Fields, samples: list[Sample]) -> Run:
    about = {
        name: value for name, value in content.content.items() if name not in ("results", "aggregate", "gguf", "model")
    }
    file = next((content.text(name) for name in ("gguf", "model") if content.has(name)), "")
    drafted = _DRAFTED.search(str(content.content.get("spec_flags")))
    known: dict[str, Any] = {"options": {"num_draft_tokens": int(drafted[1])}} if drafted else {}
    return gather(_RUN, about).as_run(
        run_id,
        "llama-cpp",
        kind="speculative" if any("draft_tokens" in sample.engine for sample in samples) else "autoregressive",
        model=model_of("", file) or UNKNOWN,
        quantisation=format_of("", file) or UNKNOWN,
        samples=len(samples) or None,
        notes=(
            "the client's time: the prompt and the way to the server are in it; the server's rate is kept as printed",
        ),
        **known,
    )


def _sample(run_id: str, index: int, row: Fields) -> Sample:
    gathered = gather(_SAMPLE, {name: row.content[name] for name in row.content if not name.startswith("draft_")})
    drafted, accepted = (row.tokens(name) if row.has(name) else 0 for name in ("draft_n", "draft_n_accepted"))
    if accepted > drafted:
        raise row.fail("draft_n_accepted", f"{accepted} accepted of {drafted} drafted")
    if drafted:
        gathered.engine |= EngineCounters(draft_tokens=drafted, accepted_draft_tokens=accepted).figures()
    return gathered.as_sample(run_id, index, source_line=row.line, extra=gathered.extra)
