"""The line that llama-cli prints behind each answer since December 2025: two rates, without counts.

::

    [ Prompt: 62.6 t/s | Generation: 4.7 t/s ]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import with_point
from ....core.sdk.logs.runs import UNKNOWN, bare_run, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_MARK = "t/s | Generation:"
_RATE = r"(\d{1,9}(?:[.,]\d{1,9})?)"
_FOOTER = re.compile(rf"\[ {{1,9}}Prompt: {{1,9}}{_RATE} t/s \| Generation: {{1,9}}{_RATE} t/s {{1,9}}\]")
_FILE = re.compile(r"(?:\s-m|--model)[ =]+['\"]?(\S{1,500}?\.gguf)")


class CliFooter(LogParser):
    """Reads one run per file; every answer is a sample, without figures."""

    name = "llama-cli"
    summary = "the rates that llama-cli prints behind an answer since December 2025"
    version = "1"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for such a line."""
        text = text_of(path)
        return _MARK in text and bool(_FOOTER.search(text))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and its answers."""
        text = page_of(path)
        lines = text.split("\n")
        numbered = ((at, line) for at, line in enumerate(lines, start=1) if _MARK in line)
        found = [(at, footer) for at, line in numbered if (footer := _FOOTER.search(line))]
        if not found:
            raise malformed(path, 1, "Generation", "no answer with its rates")
        files = {file for line in lines for file in (_FILE.findall(line) if ".gguf" in line else ())}
        file = files.pop() if len(files) == 1 else ""
        run_id = f"{self.name}-{digest_of(text)}"
        rates = [[float(with_point(rate)) for rate in one.groups()] for _, one in found]
        yield bare_run(
            run_id,
            "llama-cpp",
            model=model_of("", file) or UNKNOWN,
            quantisation=format_of("", file) or UNKNOWN,
            samples=len(found),
            settings={
                "published_prompt_tokens_per_s": ", ".join(repr(prompt) for prompt, _ in rates),
                "published_tokens_per_s": ", ".join(repr(generation) for _, generation in rates),
            },
            notes=(
                "there are rates with one decimal and no token counts: they are kept as printed, and are no figures",
            ),
        )
        alike = Sample(run_id=run_id, index=0, output_tokens=None, engine={}, source_line=1)
        for index, ((line, _), (prompt, generation)) in enumerate(zip(found, rates, strict=True)):
            engine = {"prompt_tokens_per_s": prompt, "tokens_per_s": generation}
            yield alike.model_copy(update={"index": index, "engine": engine, "source_line": line})
