"""Ollama's answers as PowerShell's `Invoke-RestMethod` lists them.

::

    model                : llama3.2
    created_at           : 2025-08-04T19:22:45.499127Z
    response             : Hi
    done                 : True
    total_duration       : 5043500667
    prompt_eval_count    : 26
    prompt_eval_duration : 325953000
    eval_count           : 290
    eval_duration        : 4709213000

The names of a list are padded to one width, so that a line of the answer's text is not taken for a figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.logs.figures import gather
from ....core.sdk.logs.pages import Block
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed
from .ollama import ANSWER, run_of, sample_of

_NAMES = r"model|created_at|done_reason|(?:total|load|(?:prompt_)?eval)_duration|(?:prompt_)?eval_count"
_LINE = re.compile(rf"(?<![\w\"])({_NAMES})[ \t]{{0,40}}:[ \t]{{0,4}}(\S.{{0,200}})")
_NEEDED = "eval_duration"


class OllamaListed(LogParser):
    """Reads one run per model; every answer is a sample."""

    name: ClassVar[str] = "ollama-listed"
    summary: ClassVar[str] = "answers of Ollama's API as PowerShell lists them"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a list with its times."""
        text = text_of(path)
        return _NEEDED in text and f'"{_NEEDED}"' not in text and bool(_answers(text.split("\n")))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each model's run and its answers."""
        text = page_of(path)
        found = _answers(text.split("\n"))
        if not found:
            raise malformed(path, 1, _NEEDED, "no list has it")
        by_model: dict[str, list[Block]] = {}
        for block in found:
            by_model.setdefault(block.found.get("model", UNKNOWN), []).append(block)
        base = f"{self.name}-{digest_of(text)}"
        for at, (model, own) in enumerate(by_model.items()):
            run_id = f"{base}-{at}"
            begun = min(block.found.get("created_at", "") for block in own)
            yield run_of(run_id, model, len(own), started_at=begun, source_line=own[0].line)
            for index, block in enumerate(own):
                figures = {name: value for name, value in block.found.items() if name not in ("model", "created_at")}
                yield sample_of(run_id, index, gather(ANSWER, figures), block.line)


def _answers(lines: Sequence[str]) -> list[Block]:
    """Return the lists: lines with their names, padded to one width."""
    found: list[Block] = []
    by_width: dict[int, Block] = {}
    for at, line in enumerate(lines, start=1):
        hit = _LINE.search(line) if ":" in line else None
        if hit:
            width = line.index(":", hit.end(1)) - hit.start(1)
            block = by_width.get(width)
            if block is None or hit[1] in block.found:
                block = by_width[width] = Block(at, [])
                found.append(block)
            block.found[hit[1]] = hit[2].strip()
    return [block for block in found if {_NEEDED, "eval_count"} <= block.found.keys()]
