"""Console logs of the published DFlash scripts: the aggregates that they print at their end.

::

    Baseline total_wall_s: 2406.121140
    Baseline TTFT: 0.699609
    Speculative TPOT: 0.007216
    Decoding speedup: 5.98
    Acceptance length histogram: ['0.0%', '9.8%', '7.2%', '6.9%', '6.0%',
    '5.5%', '64.6%']

The scripts print through rich, which wraps what is no terminal at 80 columns and swallows a tag such as ``[bs=8]``;
progress bars stand in between. Of a line that is printed again the last one counts. Each block of figures becomes a
run without samples; what it prints stands in ``Run.settings`` under keys ``published_*``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run
from ....core.sdk.logs.printed import without_colours
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.text import head_text, read_text
from .console_lines import DRAFT_STEPS, LINES, MEAN_TAU, SPEEDUP, read_count, read_number
from .runs import BASELINE, environment, make_run, missing_note

_FIGURES = ("total_wall_s", "avg_wall_s", "TTFT", "TPOT", "tokens_per_sec")
_METHODS = ("Speculative", "Dynamic", "Multiround")
_UNKNOWN_METHOD = "Unknown"
_TAU = {"Multiround": "Average accepted round index"}
_BY_NAME = {"TTFT": "ttft_s", "TPOT": "tpot_s", "tokens_per_sec": "tokens_per_s"}
_MISSING = ("samples", "token limit", "sampling", "device", "number format")

_WIDTH = 80
"""Columns to which rich wraps what is no terminal."""

_BAR = re.compile(r"^.*?(?:(?<![0-9])[0-9]+%\|[^|]*\|\s*[0-9]+/[0-9]+|\b[0-9]+it) \[[^\]]{0,200}\]")
_START_UP = re.compile(r"((?:\[[^\[\]]+\])*)\s*\+([0-9]{1,9}\.[0-9]{2})s (.*)")
_OWN_START_UP = re.compile(r"\[(?:boot|setup)\].*|.*(?:entering benchmark\w*\.py pid=|pid=[0-9]+ starting; model=).*")
_MODELS = re.compile(r"\bmodel=(?P<model>[^,\s]+)(?:, draft=(?P<draft>[^,\s]+))?")
_FILE_NAME = re.compile(r"(?:.*_)?(?P<dataset>[a-z0-9-]+)_bs(?P<size>[1-9][0-9]{0,3}|auto)\.\w+")

_OF_BLOCK = rf"(?P<subject>Baseline|{'|'.join(_METHODS)}) (?P<figure>{'|'.join(_FIGURES)}|profile \w+)"
_LABEL = re.compile(
    rf"(?:\[bs=(?P<size>[1-9][0-9]{{0,3}})\])?\s*"
    rf"(?P<label>{_OF_BLOCK}|{'|'.join(map(re.escape, LINES))})(?: \([^)]*\))?:(?P<value>.*)"
)


@dataclass(slots=True)
class _Line:
    """A printed line, put together again."""

    number: int
    label: str
    subject: str | None  # of a figure: Baseline or a method
    name: str  # the label without its subject
    size: int | None  # of the tag [bs=...], where it was not swallowed
    value: str

    @property
    def is_whole(self) -> bool:
        value = self.value
        is_closed = value.count("[") == value.count("]") and value.count("{") == value.count("}")
        return is_closed and bool(value.strip())


@dataclass(slots=True)
class _Block:
    """The figures of one mode."""

    subject: str
    size: int | None = None
    values: dict[str, str] = field(default_factory=dict)  # by label, or by name for figures

    @property
    def block_size(self) -> int | None:
        """Block size: of the tag, or of the histogram, which has an entry for 0 tokens too."""
        shares = self.values.get("Acceptance length histogram")
        if self.size is not None or shares is None or self.subject != "Speculative":
            return self.size
        return len(json.loads(shares)) - 1


@dataclass(slots=True)
class _StartUp:
    """A line such as ``[setup][rank0] +31.20s target model loaded in 12.34s``."""

    tags: str
    seconds: str
    message: str
    printed: str  # its last line as printed

    def is_followed_by(self, line: str) -> bool:
        """Whether ``line`` goes on with it: its first word did not fit."""
        return len(self.printed) <= _WIDTH < len(self.printed.rstrip()) + 1 + len(line.split(" ")[0])

    def extend(self, printed: str) -> None:
        """Append a line; between two parts of a word that is wider than a line there was no space."""
        is_one_word = len(self.printed) == _WIDTH and " " not in self.printed
        self.message += ("" if is_one_word else " ") + printed.strip()
        self.printed = printed


@dataclass(slots=True)
class _Log:
    lines: list[_Line]
    start_up: list[_StartUp]
    models: Mapping[str, str]
    cut: str | None


class ConsoleLog(LogParser):
    """Reads one run per printed block of figures; none has samples."""

    name = "dflash-console"
    summary = "console log of a DFlash script: aggregates, no samples"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a figure, or for start-up lines with their tags."""
        for _, printed in _printed(head_text(head)):
            line = printed.strip()
            found = _LABEL.fullmatch(line)
            if (found and found["subject"]) or (_START_UP.fullmatch(line) and _OWN_START_UP.fullmatch(line)):
                return True
        return False

    def read(self, path: Path) -> Iterator[Run]:
        """Yield a run for the baseline and for each method, or block size of it, that the log has figures of.

        Raises:
            RawLogError: a printed figure is none; names line and label.
        """
        text = read_text(path)
        digest = digest_of(text)
        log = _read(text)
        once, blocks = _blocks(path, log.lines)
        if all(block.subject == "Baseline" for block in blocks):
            blocks.append(_Block(_UNKNOWN_METHOD))
        for position, block in enumerate(blocks):
            yield _run(f"sha256-{digest}-{position}", path, log, once, block)


def _printed(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of what was printed, without progress bars and colours."""
    for at, line in enumerate(without_colours(text).split("\n"), start=1):
        for part in line.split("\r"):
            yield at, _BAR.sub("", part) if " [" in part else part


def _read(text: str) -> _Log:
    """Put wrapped lines together: one ends where its brackets are closed, or where another begins."""
    whole, _, rest = text.rpartition("\n")
    lines: list[_Line] = []
    start_up: list[_StartUp] = []
    open_line: _Line | None = None
    for at, printed in _printed(whole):
        line = printed.strip()
        if ":" in line and (found := _LABEL.fullmatch(line)):
            name = found["figure"] or found["label"]
            size = int(found["size"]) if found["size"] else None
            open_line = _Line(at, found["label"], found["subject"], name, size, found["value"])
            lines.append(open_line)
        elif "+" in line and (found := _START_UP.fullmatch(line)):
            start_up.append(_StartUp(found[1], found[2], found[3], printed))
            open_line = None
        elif open_line and line and not open_line.is_whole:
            open_line.value += printed
        elif start_up and not lines and line and start_up[-1].is_followed_by(line):
            start_up[-1].extend(printed)
    named = (found for said in start_up if (found := _MODELS.search(said.message)))
    models = next(({name: value for name, value in m.groupdict().items() if value} for m in named), {})
    return _Log(lines, start_up, models, _cut_line(whole, rest))


def _cut_line(whole: str, rest: str) -> str | None:
    printed = [line for _, line in _printed(rest)]
    if not printed[-1].strip():
        return None
    return f"the log ends inside its line {whole.count(chr(10)) + 2 if whole else 1}, which is left out: it was cut"


def _blocks(path: Path, lines: Sequence[_Line]) -> tuple[dict[str, str], list[_Block]]:
    """Return what is said once for all, and the blocks; a block that is printed again replaces the earlier one."""
    once: dict[str, str] = {}
    open_blocks: dict[tuple[str, int | None], _Block] = {}
    blocks: list[_Block] = []
    latest: _Block | None = None  # of a method: lines below it without a subject are its own
    for line in lines:
        value = _value(path, line)
        if value is None:
            continue
        if line.subject:
            key = (line.subject, line.size)
            if line.name == _FIGURES[0] or key not in open_blocks:
                open_blocks[key] = _Block(line.subject, line.size)
                blocks.append(open_blocks[key])
            open_blocks[key].values[line.name] = value
            latest = latest if line.subject == "Baseline" else open_blocks[key]
        elif line.label.startswith("Hardware") or line.label == DRAFT_STEPS:
            once[line.label] = value
        elif latest and line.size is not None and line.size != latest.size:
            open_blocks.get((latest.subject, line.size), latest).values[line.label] = value
        elif latest:
            latest.values[line.label] = value
    last = {(block.subject, block.block_size): block for block in blocks}
    return once, list(last.values())


def _value(path: Path, line: _Line) -> str | None:
    """Return the checked value; None for one that was cut off, or that says that there is none."""
    text = line.value.strip()
    if not line.is_whole or text.startswith("N/A"):
        return None
    if line.subject is None:
        return LINES[line.label][1](path, line.number, line.label, text)
    read = read_count if line.name.endswith("cycles") else read_number
    return read(path, line.number, line.label, text)


def _run(run_id: str, path: Path, log: _Log, once: Mapping[str, str], block: _Block) -> Run:
    mode = block.subject.lower()
    named = _FILE_NAME.fullmatch(path.name)
    settings, options = _split(block)
    notes = ["aggregates of a console log: the figures are settings, there is no sample"]
    if mode == "baseline":
        options = dict(BASELINE)
    elif mode == "speculative":
        size = block.block_size
        if size is None and named and named["size"] != "auto":
            size = int(named["size"])
            notes.append("block_size from the file's name")
        options |= {} if size is None else {"block_size": size}
        options |= {"draft_steps": int(once[DRAFT_STEPS])} if DRAFT_STEPS in once else {}
    if named:
        notes.append("task from the file's name")
    if mode != "baseline" and "draft" in log.models:
        options["draft"] = log.models["draft"]
    known: dict[str, Any] = {"task": named["dataset"] if named else None, "import_s": _import_s(log.start_up)}
    if (samples := _samples(block)) is not None:
        known["samples"] = samples
        notes.append("samples is total_wall_s / avg_wall_s")
    if log.start_up:
        settings["published_startup"] = json.dumps(
            [[said.tags, float(said.seconds), said.message] for said in log.start_up], ensure_ascii=False
        )
    if "Hardware World Size" in once:
        settings["published_world_size"] = once["Hardware World Size"]
    return make_run(
        run_id,
        mode,
        options,
        cut=_lacking(log, block),
        settings=settings,
        notes=[*notes, missing_note(_MISSING)],
        model=log.models.get("model", UNKNOWN),
        environment=environment(*(once.get(f"Hardware {name}") for name in ("GPU", "CUDA", "Torch"))),
        **known,
    )


def _split(block: _Block) -> tuple[dict[str, str], dict[str, JsonValue]]:
    """Return the settings and the options that the lines of a block tell."""
    settings: dict[str, str] = {}
    options: dict[str, JsonValue] = {}
    for label, value in block.values.items():
        if label not in LINES:
            settings[f"published_{_BY_NAME.get(label, label.removeprefix('profile '))}"] = value
            continue
        target = LINES[label][0]
        if target and target.startswith("option "):
            options[target.removeprefix("option ")] = json.loads(value)
        elif target:
            settings[target] = value
    return settings, options


def _import_s(start_up: Sequence[_StartUp]) -> float | None:
    return next((float(said.seconds) for said in start_up if said.message.startswith("all imports finished")), None)


def _samples(block: _Block) -> int | None:
    """Return the number of samples, of which the total and the mean of the wall times tell the quotient."""
    total, mean = (float(block.values.get(name, "0")) for name in _FIGURES[:2])
    if not mean:
        return None
    samples = round(total / mean)
    is_whole = abs(total - samples * mean) <= 5e-7 * (samples + 1)  # six decimals each
    return samples if is_whole and 0 < samples < 10**6 else None


def _lacking(log: _Log, block: _Block) -> str | None:
    """Say what the log of a run that came to its end would have; None where nothing is missing."""
    if block.subject == _UNKNOWN_METHOD:
        return "; ".join(
            [*([log.cut] if log.cut else []), f"no method's figures, such as '{_METHODS[0]} {_FIGURES[0]}'"]
        )
    names = [f"{block.subject} {name}" for name in _FIGURES if name != "avg_wall_s" and name not in block.values]
    if block.subject != "Baseline":
        labels = {line.label for line in log.lines}
        tau = _TAU.get(block.subject, MEAN_TAU)
        names += [tau] * (tau not in block.values) + [SPEEDUP] * (SPEEDUP not in labels)
        names += [line.label for line in log.lines if not line.is_whole and line.label not in block.values]
    if not names and not (log.cut and block.subject != "Baseline"):
        return None
    missing = [f"lines that a finished run prints are missing: {', '.join(dict.fromkeys(names))}"] if names else []
    return "; ".join([*([log.cut] if log.cut else []), *missing])
