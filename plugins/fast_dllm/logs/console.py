"""What the Fast-dLLM scripts print: totals at the end (LLaDA, Dream and v2), and each answer between lines of `=`.

::

    ====================
    answer:  So 3 + 4 = 7.
    nfe:  61
    avg nfe:  61.0
    Total number of tokens generated: 12345
    Total time taken: 581.5 seconds
    Tokens per second: 21.23
    Total NFE is 987

Dream prints `Generated token num: N`, `Time taken: T seconds` and `Generated token num per second: R`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Totals
from ....core.sdk.logs.fields import count, number
from ....core.sdk.logs.runs import bare_run, digest_of
from ....core.sdk.logs.structure import page_of
from ....core.sdk.logs.text import head_text, malformed, tail_text

_LINES = {
    "output_tokens": re.compile(r"(?:Total number of tokens generated|Generated token num): (\S+)"),
    "wall_s": re.compile(r"(?:Total time taken|Time taken): (\S+) seconds"),
    "tokens_per_s": re.compile(r"(?:Tokens per second|Generated token num per second): (\S+)"),
    "forwards": re.compile(r"Total NFE is (\S+)"),
}
_COUNTS = ("output_tokens", "forwards")
_RULE = "=" * 20
_ANSWER = re.compile(r"answer:\s")


class Console(LogParser):
    """Reads one run per log; its answers are counted, their texts are not kept."""

    name = "fast-dllm-console"
    summary = "console output of the Fast-dLLM evaluation scripts (LLaDA, Dream, v2)"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the totals at the beginning or at the end."""
        texts = [head_text(head), tail_text(path)]
        return any(_LINES["output_tokens"].search(text) and _LINES["wall_s"].search(text) for text in texts)

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the run.

        Raises:
            RawLogError: a total is no number; names line and field.
        """
        text = page_of(path)
        found: dict[str, float] = {}
        answers = 0
        is_answer_due = False
        for at, line in enumerate(text.split("\n"), start=1):
            answers += is_answer_due and bool(_ANSWER.match(line))
            is_answer_due = line == _RULE or (is_answer_due and not _ANSWER.match(line))
            for name, pattern in _LINES.items():
                if match := pattern.search(line):
                    if name in found:
                        raise malformed(path, at, name, "a second evaluation in one log; split the file")
                    found[name] = (count if name in _COUNTS else number)(path, at, name, match[1])
        missing = [name for name in ("output_tokens", "wall_s", "tokens_per_s") if name not in found]
        yield bare_run(
            f"sha256-{digest_of(text)}",
            "fast-dllm",
            kind="diffusion",
            totals=Totals.model_validate({**found, "wall_s": found.get("wall_s") or None, "samples": answers or None}),
            notes=("console output: model, options, task and machine are not in it",),
            cut=f"no line with {', '.join(missing)}" if missing else None,
        )
