"""The timings that llama.cpp's programs print when they end, and what they print of the model when they begin.

::

    llama_perf_context_print: prompt eval time =     203.38 ms /  1085 tokens (    0.19 ms per token,  5334.89 ...)
    llama_perf_context_print:        eval time =     933.63 ms /   246 runs   (    3.80 ms per token,   263.49 ...)

Before September 2024 the lines begin with `llama_print_timings:`, those of newer programs with `common_perf_print:`,
and llama-server's with `slot print_timing:`; there `eval time` counts tokens, the first one included, not runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Environment, Run, Sample
from ....core.sdk.gguf.names import format_of, model_of, size_of
from ....core.sdk.logs.fields import MOST_TOKENS, count, number
from ....core.sdk.logs.runs import bare_run, digest_of
from ....core.sdk.logs.text import head_text, malformed, read_text, tail_text
from ..devices import device_label
from .console_settings import gpus_of, settings_of

# What is between the two is bounded, as a path is below: a line of a million blanks would else be tried from each.
_PRINTER = r"(?:llama_perf_context_print|llama_print_timings|common_perf_print|slot +print_timings?)\b[^=]{0,200}?"
_TIME = re.compile(
    rf"{_PRINTER}(?<=\s)(?P<what>load|prompt eval|eval|total|sample|sampling) time\s*=\s*(?P<ms>\S+) ms"
    r"(?:\s*/\s*(?P<count>\S+) (?P<unit>runs|tokens))?"
)
_BARE = re.compile(
    r"\s*(?P<what>prompt eval|eval|total) time\s*=\s*(?P<ms>\S+) ms\s*/\s*(?P<count>\S+) (?P<unit>tokens)"
)
_SLOT = re.compile(r"slot +print_timing")
_DRAFT = re.compile(r"draft acceptance(?: rate)? = \S+ \(\s*(\d{1,9}) accepted /\s*(\d{1,9}) generated\)")
_AMOUNT = r"(\d{1,9}(?:\.\d{1,4})?)"
_INFO = r"(?:print_info|llm_load_print_meta):"
_MODEL = {
    "file": re.compile(r"llama_model_loader: loaded meta data with .{1,80}? from (.{1,1024}?) \(version "),
    "name": re.compile(rf"{_INFO} general\.name\s*= (.+)"),
    "type": re.compile(rf"{_INFO} model type\s*= (.+)"),
    "format": re.compile(rf"{_INFO} (?:file type|model ftype)\s*= (.+)"),
    "size": re.compile(rf"{_INFO} (?:file|model) size\s*= {_AMOUNT} ([MG])iB \({_AMOUNT} BPW\)"),
    "parameters": re.compile(rf"{_INFO} model params\s*= {_AMOUNT} ([KMBT])"),
    "build": re.compile(r"build(?: =|:) (\d{1,9}) \(([0-9a-f]{5,40})\)"),
    "device": re.compile(r"using device (\S+) \((.+?)\)"),
    "layers": re.compile(r"offloaded (\d+)/\d+ layers to GPU"),
}
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(slots=True)
class _Block:
    """One block of timings: milliseconds and counts by what they are of."""

    line: int
    ms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    drafted: tuple[int, int] | None = None  # accepted, generated


class Console(LogParser):
    """Reads one run per file; every block of timings is a sample."""

    name: ClassVar[str] = "llama-cpp-console"
    summary: ClassVar[str] = "timings that llama-cli, llama-completion, llama-server and older programs print"
    version: ClassVar[str] = "3"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a line of timings at the beginning or at the end."""
        text = head_text(head)
        is_json = text.lstrip().startswith(("{", "[{", "[\n"))
        return not is_json and any(_TIME.search(part) for part in (text, tail_text(path)))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and its samples.

        Raises:
            RawLogError: a time or a count is no number; names line and field.
        """
        text = read_text(path)
        lines = text.split("\n")
        blocks = _blocks(path, lines)
        told = {name: found for name, pattern in _MODEL.items() if (found := pattern.search(text))}
        run_id = f"sha256-{digest_of(text)}"
        samples = [_sample(run_id, index, block) for index, block in enumerate(blocks)]
        if not samples:
            raise malformed(path, 1, "eval time", "no block of timings is whole")
        run = _run(run_id, told, blocks, samples)
        yield run.model_copy(update=settings_of(lines).run_fields | {"environment": _machine(lines, told)})
        yield from samples


def _blocks(path: Path, lines: Sequence[str]) -> list[_Block]:
    blocks: list[_Block] = []
    load_ms: float | None = None
    is_slot = False
    for at, line in enumerate(lines, start=1):
        is_slot = is_slot or bool(line.rstrip().endswith("|") and _SLOT.search(line))
        found = _TIME.search(line) or (_BARE.match(line) if is_slot else None)
        if not found:
            if (draft := _DRAFT.search(line)) and blocks:
                blocks[-1].drafted = int(draft[1]), int(draft[2])
            continue
        what = found["what"]
        if what == "load":
            load_ms = number(path, at, "load time", found["ms"])
        elif what == "prompt eval":
            blocks.append(_Block(at, {} if load_ms is None else {"load": load_ms}))
        if what in ("prompt eval", "eval", "total") and blocks:
            _take(path, at, found, blocks[-1])
    return [block for block in blocks if "eval" in block.ms]


def _take(path: Path, at: int, found: re.Match[str], block: _Block) -> None:
    what = found["what"]
    block.ms[what] = number(path, at, f"{what} time", found["ms"])
    if found["count"] is not None:
        block.counts[what] = count(path, at, f"{what} time", found["count"])
        block.units[what] = found["unit"]
        if block.counts[what] > MOST_TOKENS:
            raise malformed(path, at, f"{what} time", "more tokens than any context holds")


def _sample(run_id: str, index: int, block: _Block) -> Sample:
    prompt_ms, eval_ms = block.ms["prompt eval"], block.ms["eval"]
    prompt, evaluated = block.counts.get("prompt eval", 0), block.counts.get("eval", 0)
    is_server = block.units.get("eval") == "tokens"
    # A time of zero is printed with a count of one, since the program divides by it.
    prompt, evaluated = prompt if prompt_ms else 0, evaluated if eval_ms else 0
    decoded = max(0, evaluated - 1) if is_server else evaluated
    output = evaluated if is_server else evaluated + (prompt > 0)
    is_timed = decoded > 0
    engine: dict[str, float] = {"total_s": block.ms["total"] / 1e3} if "total" in block.ms and not is_server else {}
    if block.drafted and block.drafted[1] >= block.drafted[0]:
        engine |= {"accepted_draft_tokens": block.drafted[0], "draft_tokens": block.drafted[1]}
    return Sample(
        run_id=run_id,
        index=index,
        source_line=block.line,
        prompt_tokens=prompt or None,
        output_tokens=output,
        duration_s=(prompt_ms + eval_ms) / 1e3 if is_server and output else None,
        first_token_s=prompt_ms / 1e3 if is_server and prompt else None,
        prefill_s=prompt_ms / 1e3 if prompt else None,
        decode_tokens=decoded if is_timed else None,
        decode_s=eval_ms / 1e3 if is_timed else None,
        decode_forwards=decoded if is_timed and "draft_tokens" not in engine else None,
        engine=engine,
    )


def _run(run_id: str, told: dict[str, re.Match[str]], blocks: Sequence[_Block], samples: Sequence[Sample]) -> Run:
    texts = {name: found[1].strip() for name, found in told.items()}
    size = told.get("size")
    parameters = told.get("parameters")
    build = told.get("build")
    named = f"{texts.get('type', '')} {texts.get('format', '')}".strip()
    load_ms = blocks[0].ms.get("load")
    return bare_run(
        run_id,
        "llama-cpp",
        backend_version=f"b{build[1]} {build[2]}" if build else None,
        kind="speculative" if any("draft_tokens" in sample.engine for sample in samples) else "autoregressive",
        model=model_of("", texts.get("file", "")) or texts.get("name") or "unknown",
        size=size_of(texts.get("type", "")),
        quantisation=format_of(named, texts.get("file", "")) or "unknown",
        bits_per_weight=float(size[3]) or None if size else None,
        device=_device(told),
        load_s=load_ms / 1e3 if load_ms else None,
        parameters=round(float(parameters[1]) * _UNITS[parameters[2]]) if parameters else None,
        weight_bytes=round(float(size[1]) * {"M": 2**20, "G": 2**30}[size[2]]) if size else None,
        settings={f"model_{name}": texts[name] for name in ("file", "name", "format") if name in texts},
        notes=tuple(_notes(told, blocks)),
    )


def _machine(lines: Sequence[str], told: dict[str, re.Match[str]]) -> Environment | None:
    used = told.get("device")
    gpus = gpus_of(lines) or ((used[2],) if used and used[1] != "CPU" else ())
    return Environment(gpu=gpus) if gpus else None


def _device(told: dict[str, re.Match[str]]) -> str:
    layers = told.get("layers")
    if layers and layers[1] == "0":
        return "cpu"
    if "device" in told:
        return device_label(told["device"][1])
    return "unknown"


def _notes(told: dict[str, re.Match[str]], blocks: Sequence[_Block]) -> Iterator[str]:
    if any(block.units.get("eval") == "tokens" for block in blocks):
        yield "the server's eval time begins with its first token: decode speed counts the tokens after it"
    else:
        yield (
            "eval runs are decode steps, and one more token came from the prompt; sampling is in neither time, so an "
            "end-to-end speed cannot be told, and `total_s` of a sample holds waiting too"
        )
    yield "prompt text and time of day are not in the lines that are read; the sampler's seed may be drawn by chance"
    if "size" in told or "parameters" in told:
        yield "model size, parameters and bits per weight are rounded to two decimals, as printed"
    if "device" not in told:
        yield "no line tells the device"
