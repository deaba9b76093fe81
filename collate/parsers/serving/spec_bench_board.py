"""Spec-Bench's leaderboard: speed-ups over plain decoding and accepted tokens, a table per device and model.

::

    ## Leaderboard on 3090
    - Device: a single NVIDIA GeForce RTX 3090 GPU (24GB) with 12 CPU cores
    - Experimental Settings: Vicuna-7B-v1.3, greedy decoding, FP16 precision, batch size = 1
    | Models | Multi-turn Conversation | ... | #Mean Accepted Tokens | Overall |
    | ------ | :---------------------: | ... | :-------------------: | :-----: |
    | EAGLE2 | 2.71x                   | ... | 4.36                  | 2.25x   |

Each speed-up is a run without samples; the accepted tokens per cycle are those over all tasks. Layout as in
hemingkx/Spec-Bench, `Leaderboard.md` (09244ff).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Environment, Run
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.pages import Table, ruled_tables
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_LENGTH = "#Mean Accepted Tokens"
_ALL = "Overall"
_HEADING = re.compile(r"(?:^|[\s>])#{1,6} +(.{1,200})")
_SPEED_UP = re.compile(r"(\d{1,3}\.\d{1,4})x")
_DEVICE = re.compile(r"- Device: (?:a single )?(.{1,200}?)(?: GPU)?(?: \(| with |$)")
_SETTINGS = re.compile(r"- Experimental Settings: (.{1,300})")
_SOFTWARE = re.compile(r"- Testing environment: (.{1,300})")
_MODEL = re.compile(r"[A-Za-z][\w.]*-\d+B[\w.-]*", re.IGNORECASE)
_PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_FIGURES = form(
    Figure("task", "run.task", "text"),
    Figure("speed_up", "published.speed_up"),
    Figure(_LENGTH, "published.acceptance_length"),
)


class SpecBenchBoard(LogParser):
    """Reads one run per method, task, device and model."""

    name: ClassVar[str] = "spec-bench-board"
    summary: ClassVar[str] = "Spec-Bench's leaderboard (Markdown)"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a table with accepted tokens and speed-ups."""
        text = text_of(path)
        return _LENGTH in text and any(True for _ in _boards(text.split("\n")))

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = list(_boards(text.split("\n")))
        if not found:
            raise malformed(path, 1, _ALL, "no table has it")
        about: dict[str, Any] = {}
        number = 0
        for table in found:
            about |= _about(table.above)
            for line, cells in table.rows:
                for task in table.columns[1:]:
                    if _SPEED_UP.fullmatch(cells[task]):
                        yield _run(f"{base}-{number:04d}", line, cells, task, about)
                        number += 1


def _boards(lines: Sequence[str]) -> Iterator[Table]:
    return (table for table in ruled_tables(lines) if {_LENGTH, _ALL} <= set(table.columns))


def _about(lines: Sequence[str]) -> dict[str, Any]:
    """Return what stands above a table; what it does not say is as above the table before."""
    found: dict[str, Any] = {}
    for line in lines:
        if device := _DEVICE.search(line):
            found["environment"] = Environment(gpu=(device[1],))
        elif software := _SOFTWARE.search(line):
            found["conditions"] = {"software": software[1].strip()}
        elif settings := _SETTINGS.search(line):
            words = [word.strip().lower() for word in settings[1].split(",")]
            found["quantisation"] = next((_PRECISIONS[w[:4]] for w in words if w[:4] in _PRECISIONS), UNKNOWN)
            found["sampling"] = {"temperature": 0.0} if "greedy decoding" in words else {}
            found["batch_size"] = 1 if "batch size = 1" in words else None
        if (heading := _HEADING.search(line) or _SETTINGS.search(line)) and (model := _MODEL.search(heading[1])):
            found["model"] = model[0]
    return found


def _run(run_id: str, line: int, cells: Mapping[str, str], task: str, about: Mapping[str, Any]) -> Run:
    speed_up = _SPEED_UP.fullmatch(cells[task])
    figures = {"task": task.replace("Summa-rization", "Summarization"), "speed_up": speed_up[1] if speed_up else None}
    if task == _ALL:
        figures[_LENGTH] = cells[_LENGTH]
    method = next(iter(cells.values())).rstrip("🏅🥈🥉 ")
    return gather(_FIGURES, figures).as_run(
        run_id,
        method,
        kind="speculative",
        source_line=line,
        notes=("a speed-up over plain decoding alone, without speeds, tokens and times: it is kept as printed",),
        **about,
    )
