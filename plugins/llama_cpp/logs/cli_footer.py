"""The line that llama-cli prints behind each answer since December 2025: two rates, without counts.

::

    build      : b7358-c6b2c9310
    model      : Qwen3-4B-Q4_K_M.gguf
    ...
    [ Prompt: 62.6 t/s | Generation: 4.7 t/s ]

A launch begins with what names its model: what it prints itself, or its command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import with_point
from ....core.sdk.logs.runs import UNKNOWN, bare_run, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed
from .commands import file_in

_MARK = "t/s | Generation:"
_RATE = r"(\d{1,9}(?:[.,]\d{1,9})?)"
_FOOTER = re.compile(rf"\[ {{1,9}}Prompt: {{1,9}}{_RATE} t/s \| Generation: {{1,9}}{_RATE} t/s {{1,9}}\]")
_BUILD = re.compile(r"\bbuild {3,9}: (b\d{1,9})-([0-9a-f]{5,40})\b")
_NAMED = re.compile(r"\bmodel {3,9}: (\S.{0,300})")


@dataclass(slots=True)
class _Launch:
    """One life of the program: what is said of its model, its build, and the rates of its answers by line."""

    file: str = ""
    version: str | None = None
    rates: list[tuple[int, float, float]] = field(default_factory=list)


class CliFooter(LogParser):
    """Reads one run per launch; every answer is a sample, without figures."""

    name = "llama-cli"
    summary = "the rates that llama-cli prints behind an answer since December 2025"
    version = "2"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for such a line."""
        text = text_of(path)
        return _MARK in text and bool(_FOOTER.search(text))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each launch's run and its answers."""
        text = page_of(path)
        launches = _launches(text.split("\n"))
        if not launches:
            raise malformed(path, 1, "Generation", "no answer with its rates")
        base = f"{self.name}-{digest_of(text)}"
        for at, launch in enumerate(launches):
            yield from _records(base if len(launches) == 1 else f"{base}-{at}", launch)


def _launches(lines: Sequence[str]) -> list[_Launch]:
    launches = [_Launch()]
    for at, line in enumerate(lines, start=1):
        if _MARK in line and (rates := _FOOTER.search(line)):
            prompt, generation = (float(with_point(rate)) for rate in rates.groups())
            launches[-1].rates.append((at, prompt, generation))
            continue
        build = _BUILD.search(line) if "build" in line else None
        named = _NAMED.search(line) if "model" in line else None
        file = named[1].strip() if named else file_in([line])
        if (build or file) and launches[-1].rates:
            launches.append(_Launch())
        if build:
            launches[-1].version = f"{build[1]} {build[2]}"
        launches[-1].file = file or launches[-1].file
    return [launch for launch in launches if launch.rates]


def _records(run_id: str, launch: _Launch) -> Iterator[Run | Sample]:
    yield bare_run(
        run_id,
        "llama-cpp",
        backend_version=launch.version,
        model=model_of("", launch.file) or UNKNOWN,
        quantisation=format_of("", launch.file) or UNKNOWN,
        samples=len(launch.rates),
        source_line=launch.rates[0][0],
        settings={
            "published_prompt_tokens_per_s": ", ".join(repr(prompt) for _, prompt, _ in launch.rates),
            "published_tokens_per_s": ", ".join(repr(generation) for _, _, generation in launch.rates),
        },
        notes=("there are rates with one decimal and no token counts: they are kept as printed, and are no figures",),
    )
    alike = Sample(run_id=run_id, index=0, output_tokens=None, engine={}, source_line=1)
    for index, (line, prompt, generation) in enumerate(launch.rates):
        engine = {"prompt_tokens_per_s": prompt, "tokens_per_s": generation}
        yield alike.model_copy(update={"index": index, "engine": engine, "source_line": line})
