"""The timings that llama.cpp's programs print when they end, and what they print of the model when they begin.

::

    llama_perf_context_print: prompt eval time =     203.38 ms /  1085 tokens (    0.19 ms per token,  5334.89 ...)
    llama_perf_context_print:        eval time =     933.63 ms /   246 runs   (    3.80 ms per token,   263.49 ...)

Before September 2024 the lines begin with `llama_print_timings:`, those of newer programs with `common_perf_print:`.
llama-server's follow `slot print_timing:`, or until 2024 `print_timings`; its `eval time` counts tokens, the first one
included, not runs. What else is before them on a line does not matter: ports, containers, journals, indentation.

llama-speculative and its kin print what they did as a whole (`decoded  130 tokens in    2.600 seconds, ...`, `n_drafted
= 144`, `n_accept  = 90`), and below it the timings of their contexts, which are no answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.engine_counters import EngineCounters
from ....core.records.raw_log import RawLogError
from ....core.records.schema import Environment, Run, Sample
from ....core.sdk.gguf.names import format_of, model_of, size_of
from ....core.sdk.logs.fields import MOST_TOKENS, count, number, plain_number
from ....core.sdk.logs.pages import heading_of, place_of
from ....core.sdk.logs.printed import left_out, processes
from ....core.sdk.logs.runs import UNKNOWN, bare_run, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed, read_printed
from ..devices import device_label
from .commands import file_in
from .console_settings import gpus_of, settings_of

_TIME = re.compile(
    r"(?<!\w)(?P<what>load|prompt eval|(?:generation )?eval|total|sample|sampling) time[ \t]{0,40}=[ \t]{0,40}"
    r"(?P<ms>\S{1,40}) ms"
    r"(?:[ \t]{0,40}/[ \t]{0,40}(?P<count>\S{1,20}) (?P<unit>runs|tokens))?"
)
_OF_SERVER = re.compile(r"(?<!\w)print_timings")  # with "runs" for tokens until 2024
_JSON = re.compile(r"\s*(?:\[\s*)?\{\s*\"|\s*\[\s*\{")
_LOG_IN_JSON = '"print_timings"'
"""Of the server's log, which had a form in JSON lines."""
_WHOLE = re.compile(r"\b(encoded|decoded) {1,9}(\d{1,9}) tokens in {1,9}([\d.,]{1,20}) seconds")
_COUNTER = re.compile(r"\b(n_drafted|n_accept) {1,4}= (\d{1,9})\s{0,9}$")
_DRAFT = re.compile(r"draft acceptance(?: rate)? = \S+ \(\s*(\d{1,9}) accepted /\s*(\d{1,9}) generated\)")
_AMOUNT = r"(\d{1,9}(?:\.\d{1,4})?)"
_INFO = r"(?:print_info|llm_load_print_meta|llama_model_load_internal):"
_MODEL = {
    "file": re.compile(
        r"(?:llama_model_loader: loaded meta data with .{1,80}? from|llama\.cpp: loading model from) "
        r"(.{1,1024}?)(?: \(version |$)",
        re.MULTILINE,
    ),
    "name": re.compile(rf"{_INFO} general\.name\s*= (.+)"),
    "type": re.compile(rf"{_INFO} model (?:type\s*= (?=.)|size = (?=\d+B$))(.+)", re.MULTILINE),
    "format": re.compile(rf"{_INFO} (?:(?:file type|model ftype)\s*= (.+)|ftype\s*= \d+ \((.+)\))"),
    "size": re.compile(rf"{_INFO} (?:file|model) size\s*= {_AMOUNT} ([MG])iB \({_AMOUNT} BPW\)"),
    "parameters": re.compile(rf"{_INFO} model params\s*= {_AMOUNT} ([KMBT])"),
    "build": re.compile(r"build(?: =|:) (\d{1,9}) \(([0-9a-f]{5,40})\)"),
    "device": re.compile(r"using device (\S+) \((.+?)\)"),
    "layers": re.compile(r"offloaded (\d+)/\d+ layers to GPU"),
}
_LOADS = re.compile(r"llama_model_loader: loaded meta data with|llama\.cpp: loading model from")
_DIES = re.compile(r"core dumped|\bKilled\b|\bAborted\b|GGML_ASSERT|(?:failed to|error) load")
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(slots=True)
class _Block:
    """One block of timings: milliseconds and counts by what they are of."""

    line: int
    ms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    is_server: bool = False
    is_whole: bool = False  # what a program did, not one of its contexts
    is_odd: bool = False
    drafted: dict[str, int] = field(default_factory=dict)  # n_drafted, n_accept

    def take(self, path: Path, at: int, what: str, found: re.Match[str]) -> None:
        """Take a time and its count."""
        self.ms[what] = number(path, at, f"{what} time", found["ms"])
        is_of_server = found["what"] != what or found["unit"] == "tokens" or _OF_SERVER.search(found.string) is not None
        self.is_server |= what == "eval" and is_of_server
        if found["count"] is not None:
            self.counts[what] = count(path, at, f"{what} time", found["count"])
            if self.counts[what] > MOST_TOKENS:
                raise malformed(path, at, f"{what} time", "more tokens than any context holds")


@dataclass(slots=True)
class _Launch:
    """One life of one program.

    Attributes:
        lines: what it printed, each line with its number from 1.
        blocks: of timings; a block begins with the time of its prompt.
        load_ms: the time of loading that was printed last.
        has_loaded: whether a model was.
        has_died: whether the program was killed, or crashed.
    """

    lines: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    load_ms: float | None = None
    has_loaded: bool = False
    has_died: bool = False

    def has_ended(self, line: str) -> bool:
        """Whether a line is of the next launch: a program begins, or a model is loaded after timings were printed."""
        last = self.blocks[-1] if self.blocks else None
        is_timed = last is not None and ("eval" in last.ms or last.is_odd)
        if _LOADS.search(line):
            is_next, self.has_loaded = is_timed or (self.has_loaded and self.has_died), True
            return is_next
        if self.has_loaded or is_timed:
            self.has_died = self.has_died or _DIES.search(line) is not None
            if _MODEL["build"].search(line) or file_in([line]):
                return True
        if last is None or not is_timed or last.is_server:
            return False
        return self._is_beyond(last, line) or (not self.has_loaded and heading_of(line) is not None)

    def _is_beyond(self, last: _Block, line: str) -> bool:
        """Whether a line of timings is of another launch: programs that are no servers print them once, those that
        answer several times with the same time of loading.
        """  # fmt: skip
        found = _TIME.search(line) if " time" in line and not last.is_whole else None
        if found and found["what"] == "load":
            return "load" not in last.ms or plain_number(found["ms"]) != last.ms["load"]
        return found is not None and found["what"] == "prompt eval" and "load" not in last.ms

    def take(self, path: Path, at: int, line: str, odd: list[RawLogError]) -> bool:
        """Take a line, or put what is wrong with it to ``odd``; say whether it is one of timings."""
        found = _TIME.search(line)
        what = found["what"].removeprefix("generation ") if found else ""
        try:
            if not found:
                return self._take_whole(path, at, line)
            if self.blocks and self.blocks[-1].is_whole:
                return True
            if what == "load":
                self.load_ms = number(path, at, "load time", found["ms"])
            elif what == "prompt eval":
                self.blocks.append(_Block(at, {} if self.load_ms is None else {"load": self.load_ms}))
            if what in ("prompt eval", "eval", "total") and self.blocks:
                self.blocks[-1].take(path, at, what, found)
        except RawLogError as error:
            odd.append(error)
            if what in ("prompt eval", "eval", "") and self.blocks:
                self.blocks[-1].is_odd = True
        return True

    def _take_whole(self, path: Path, at: int, line: str) -> bool:
        """Take what a program says of its drafts, or did as a whole; say whether the line is of either."""
        if whole := _WHOLE.search(line):
            last = self.blocks[-1] if self.blocks else None
            if last is None or not last.is_whole or "eval" in last.ms:
                self.blocks.append(last := _Block(at, is_whole=True))
            what = "prompt eval" if whole[1] == "encoded" else "eval"
            last.ms[what] = 1e3 * number(path, at, f"{whole[1]} tokens", whole[3].replace(",", "."))
            last.counts[what] = count(path, at, f"{whole[1]} tokens", whole[2])
            return True
        draft, counter = _DRAFT.search(line), _COUNTER.search(line)
        if self.blocks and draft:
            self.blocks[-1].drafted = {"n_accept": int(draft[1]), "n_drafted": int(draft[2])}
        elif self.blocks and counter:
            self.blocks[-1].drafted[counter[1]] = int(counter[2])
        return bool(draft or counter)


class Console(LogParser):
    """Reads one run per launch; every block of timings is a sample."""

    name = "llama-cpp-console"
    summary = "timings that llama-cli, llama-completion, llama-server and older programs print"
    version = "4"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a line of timings, wherever in the text."""
        text = text_of(path)
        if "eval time" not in text or (_JSON.match(text) and _LOG_IN_JSON not in text):
            return False
        first = text.rfind("\n", 0, text.index("eval time")) + 1
        return any(found["what"].endswith("eval") and found["count"] for found in _TIME.finditer(text, first))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each launch's run and its samples; a time that is none costs its block, which is noted.

        Raises:
            RawLogError: no block of timings is whole; names line and field.
        """
        text, _ = read_printed(path)
        odd: list[RawLogError] = []
        launches = [
            launch
            for lines in processes(page_of(path).split("\n"))
            for launch in _launches(path, lines, odd)
            if launch.blocks or _MODEL["file"].search("\n".join(line for _, line in launch.lines))
        ]
        if not any(launch.blocks for launch in launches):
            raise odd[0] if odd else malformed(path, 1, "eval time", "no block of timings is whole")
        notes = left_out(path, odd)
        base = f"{self.name}-{digest_of(text)}"
        for at, launch in enumerate(launches):
            yield from _records(base, launch, notes, at, len(launches))


def _records(base: str, launch: _Launch, notes: Sequence[str], at: int, launches: int) -> Iterator[Run | Sample]:
    run_id = base if launches == 1 else f"{base}-{at}"
    samples = [_sample(run_id, index, block) for index, block in enumerate(launch.blocks)]
    first = launch.blocks[0].line if launch.blocks else launch.lines[-1][0]
    where = place_of([line for number, line in launch.lines if number < first], at, launches)
    yield _run(run_id, launch, samples, notes, where)
    yield from samples


def _launches(path: Path, lines: Iterable[tuple[int, str]], odd: list[RawLogError]) -> list[_Launch]:
    """Cut the lines of a file where a program begins again."""
    launches = [_Launch()]
    idle: list[tuple[int, str]] = []  # lines after the latest timings: of the next launch, if there is one
    for at, line in lines:
        if _may_begin(line) and launches[-1].has_ended(line):
            launches.append(_Launch(idle, has_loaded=_LOADS.search(line) is not None))
            idle = []
        launch = launches[-1]
        if _may_time(line) and launch.take(path, at, line, odd):
            launch.lines += idle
            idle = []
        (idle if launch.blocks else launch.lines).append((at, line))
    launches[-1].lines += idle
    for launch in launches:
        launch.blocks = [block for block in launch.blocks if "eval" in block.ms and not block.is_odd]
    return launches


def _may_begin(line: str) -> bool:
    """Whether a line has what one that ends a launch, or begins one, has; for the many that have not, this is fast."""
    return (
        "load" in line
        or "build" in line
        or "eval time" in line
        or ".gguf" in line
        or "#" in line
        or "==>" in line
        or "dumped" in line
        or "Killed" in line
        or "Aborted" in line
        or "ASSERT" in line
    )


def _may_time(line: str) -> bool:
    """Whether a line has what one of timings has."""
    return " ms" in line or "accept" in line or " tokens in " in line or "n_drafted" in line


def _sample(run_id: str, index: int, block: _Block) -> Sample:
    prompt_ms, eval_ms = block.ms.get("prompt eval", 0.0), block.ms["eval"]
    prompt, evaluated = block.counts.get("prompt eval", 0), block.counts.get("eval", 0)
    is_server = block.is_server
    # A time of zero is printed with a count of one, since the program divides by it.
    prompt, evaluated = prompt if prompt_ms else 0, evaluated if eval_ms else 0
    decoded = max(0, evaluated - 1) if is_server else evaluated
    output = evaluated if is_server or block.is_whole else evaluated + (prompt > 0)
    is_timed = decoded > 0
    engine: dict[str, float] = {"total_s": block.ms["total"] / 1e3} if "total" in block.ms and not is_server else {}
    accepted, drafted = (block.drafted.get(name) for name in ("n_accept", "n_drafted"))
    if drafted is not None and accepted is not None and accepted <= drafted:
        engine |= EngineCounters(accepted_draft_tokens=accepted, draft_tokens=drafted).figures()
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
        decode_forwards=decoded if is_timed and not block.is_whole and "draft_tokens" not in engine else None,
        engine=engine,
    )


def _run(
    run_id: str, launch: _Launch, samples: Sequence[Sample], notes: Sequence[str], where: Mapping[str, JsonValue]
) -> Run:
    lines = [line for _, line in launch.lines]
    text = "\n".join(
        line for line in lines if "print_" in line or "build" in line or "load" in line or "device" in line
    )
    told = {name: found for name, pattern in _MODEL.items() if (found := pattern.search(text))}
    texts = {name: found[found.lastindex or 0].strip() for name, found in told.items()}
    file = texts.get("file") or file_in(lines)
    model = model_of("", file) or texts.get("name") or UNKNOWN
    fields = settings_of(lines).run_fields
    if model == UNKNOWN:  # nothing shows that launches of one page are of one model
        fields["conditions"] |= where
    size, parameters, build, device = (told.get(name) for name in ("size", "parameters", "build", "device"))
    named = f"{texts.get('type', '')} {texts.get('format', '')}".strip()
    load_ms = launch.blocks[0].ms.get("load") if launch.blocks else None
    gpus = gpus_of(lines) or ((device[2],) if device and device[1] != "CPU" else ())
    return bare_run(
        run_id,
        "llama-cpp",
        backend_version=f"b{build[1]} {build[2]}" if build else None,
        kind="speculative" if any("draft_tokens" in sample.engine for sample in samples) else "autoregressive",
        model=model,
        size=size_of(texts.get("type", "")),
        quantisation=format_of(named, file) or UNKNOWN,
        bits_per_weight=float(size[3]) or None if size else None,
        device="cpu" if texts.get("layers") == "0" else device_label(device[1]) if device else "unknown",
        environment=Environment(gpu=gpus) if gpus else None,
        load_s=load_ms / 1e3 if load_ms else None,
        parameters=round(float(parameters[1]) * _UNITS[parameters[2]]) if parameters else None,
        weight_bytes=round(float(size[1]) * {"M": 2**20, "G": 2**30}[size[2]]) if size else None,
        settings={f"model_{name}": texts[name] for name in ("file", "name", "format") if name in texts},
        failure=None if samples else "the program ended, or was cut off, before it had printed its timings",
        notes=(*_notes(told, launch.blocks), *notes),
        **fields,
    )


def _notes(told: Mapping[str, object], blocks: Sequence[_Block]) -> Iterator[str]:
    if any(block.is_whole for block in blocks):
        yield "decoding is that of the program as a whole, drafts included; timings of its contexts are no answers"
    elif any(block.is_server for block in blocks):
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
