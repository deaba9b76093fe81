"""InferenceX's golden acceptance lengths (`golden_al_distribution/*.yaml`), which its benchmarks simulate.

::

    # dataset: coding | temperature: 1.0 | top_p: 0.95 | top_k: 40 | output_len: 4096
    _metadata:
      draft-model: Inferact/MiniMax-M3-EAGLE3
    minimax-m3:
      thinking_on:
        1: 1.78
        2: 2.38

A key is a number of draft tokens, its value the acceptance length (SemiAnalysisAI/InferenceX, ce4e6f0). The files are
as plain as that, so that they are read line by line. Each value is a run without samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.runs import digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_MODE = re.compile(r" {1,8}(thinking_\w{1,20}):$")
_VALUE = re.compile(r" {2,16}(\d{1,4}): (\d{1,4}(?:\.\d{1,9})?)$")
_MODEL = re.compile(r"([^\s:#_][^\s:]{0,200}):$")
_DRAFT = re.compile(r" {1,8}draft-model: (\S{1,300})$")
_PAIR = re.compile(r"(\w+): ([^|]{1,100}?) *(?:\||$)")
_FIGURES = form(
    Figure("model", "run.model", "text"),
    Figure("dataset", "run.task", "text"),
    Figure("output_len", "run.max_new_tokens", "count"),
    Figure("num_draft_tokens", "option.num_draft_tokens", "count"),
    Figure("thinking", "option.thinking", "text"),
    Figure("draft_model", "option.draft_model", "text"),
    Figure("acceptance_length", "published.acceptance_length"),
)
_PLAIN = re.compile(r"\d{1,6}(?:\.\d{1,6})?")
_SAMPLING = ("temperature", "top_p", "top_k")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value, and what it is of."""

    line: int
    figures: dict[str, str]


class InferencexGolden(LogParser):
    """Reads one run per model, mode and number of draft tokens."""

    name: ClassVar[str] = "inferencex-golden"
    summary: ClassVar[str] = "golden acceptance lengths of InferenceX (YAML)"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a mode and what the comments call the values."""
        text = text_of(path)
        return "thinking_" in text and "num_speculative_tokens" in text and bool(_entries(text.split("\n")))

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs."""
        text = page_of(path)
        base = f"sha256-{digest_of(text)}"
        lines = text.split("\n")
        found = _entries(lines)
        if not found:
            raise malformed(path, 1, "acceptance length", "no value below a model and a mode")
        told = dict(pair for line in lines if "dataset:" in line for pair in _PAIR.findall(line))
        sampling = {name: float(told.pop(name)) for name in _SAMPLING if _PLAIN.fullmatch(told.get(name, ""))}
        for at, entry in enumerate(found):
            yield gather(_FIGURES, {**told, **entry.figures}).as_run(
                f"{base}-{at}",
                "inferencex",
                kind="speculative",
                sampling=sampling,
                source_line=entry.line,
                notes=("an acceptance length alone, without the counts behind it: it is kept as printed",),
            )


def _entries(lines: Sequence[str]) -> list[_Entry]:
    about: dict[str, str] = {}
    found = []
    for at, line in enumerate(lines, start=1):
        if draft := _DRAFT.match(line):
            about["draft_model"] = draft[1]
        elif model := _MODEL.match(line):
            about = {**{name: about[name] for name in ("draft_model",) if name in about}, "model": model[1]}
        elif mode := _MODE.match(line):
            about["thinking"] = mode[1]
        elif (value := _VALUE.match(line)) and {"model", "thinking"} <= about.keys():
            found.append(_Entry(at, {**about, "num_draft_tokens": value[1], "acceptance_length": value[2]}))
    return found
