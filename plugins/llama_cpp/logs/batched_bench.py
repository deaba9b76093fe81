"""What llama-batched-bench and llama-sweep-bench print: speed over the number of sequences, and over the context.

::

    |    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
    |   512 |     32 |    4 |   2176 |    1.248 |  1640.90 |    0.570 |   224.52 |    1.818 |  1196.79 |

The second table has neither B nor the last two columns, and its N_KV is the context that stands before prompt and
generation; in the first it is the whole context at the end. Both also write JSON lines (`pp`, `tg`, `pl`, `n_kv`,
`t_pp`, ...). Rates are not read: they are computed from the times. Layout as in ggml-org/llama.cpp,
`tools/batched-bench/batched-bench.cpp`, and ikawrakow/ik_llama.cpp, `examples/sweep-bench/sweep-bench.cpp`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.fields import MOST_TOKENS
from ....core.sdk.logs.figures import Figure, Gathered, form, gather
from ....core.sdk.logs.json_values import json_in, parts_of
from ....core.sdk.logs.pages import Table, place_of, tables
from ....core.sdk.logs.printed import left_out
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed
from .commands import file_in

_SWEEP = ("PP", "TG", "N_KV", "T_PP s", "S_PP t/s", "T_TG s", "S_TG t/s")
_BATCHED = ("PP", "TG", "B", "N_KV", "T_PP s", "S_PP t/s", "T_TG s", "S_TG t/s", "T s", "S t/s")
_JSON = {
    "pp": "PP", "tg": "TG", "pl": "B", "n_kv": "N_KV", "t_pp": "T_PP s", "speed_pp": "S_PP t/s", "t_tg": "T_TG s",
    "speed_tg": "S_TG t/s", "t": "T s", "speed": "S t/s",
}  # fmt: skip
_FIGURES = form(
    Figure("PP", "sample.prompt_tokens", "count"),
    Figure("TG", "sample.output_tokens", "count"),
    Figure("B", "run.batch_size", "count"),
    Figure("N_KV", "run.depth", "count"),
    Figure("T_PP s", "sample.prefill_s"),
    Figure("S_PP t/s", "published.prefill_tokens_per_s"),
    Figure("T_TG s", "sample.decode_s"),
    Figure("S_TG t/s", "published.decode_tokens_per_s"),
    Figure("T s", "sample.duration_s"),
    Figure("S t/s", "published.tokens_per_s"),
)
_SETTINGS = re.compile(r"main: (n_kv_max = .{0,1000})")
_PAIR = re.compile(r"(\w+) = ([^,\s]+)")


class BatchedBench(LogParser):
    """Reads one run per row, whose sequences are samples of one batch."""

    name: ClassVar[str] = "llama-batched-bench"
    summary: ClassVar[str] = "tables and JSON lines of llama-batched-bench and llama-sweep-bench"
    version: ClassVar[str] = "2"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the columns that both tables have, or for a row of JSON."""
        text = text_of(path)
        if (at := text.find("S_TG t/s")) >= 0:
            start = text.rfind("\n", 0, at) + 1  # of the first head
            if any(True for _ in tables(text[start:].split("\n"), (_SWEEP, _BATCHED))):
                return True
        return '"speed_tg"' in text and bool(_rows(text))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield a run and its samples for each row."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        lines = text.split("\n")
        parts = [*_tables(lines), *_rows(text)]
        read = [[(line, gather(_FIGURES, cells)) for line, cells in part.table.rows] for part in parts]
        odd = [
            malformed(path, line, "row", "not a row with tokens and times")
            for rows in read
            for line, gathered in rows
            if not _is_whole(gathered)
        ]
        found = 0
        for at, (part, rows) in enumerate(zip(parts, read, strict=True)):
            about = _About(part, place_of(part.table.above, at, len(parts)), left_out(path, odd))
            for line, gathered in rows:
                if _is_whole(gathered):
                    yield from _records(f"{base}-{found}", line, gathered, about)
                    found += 1
        if not found:
            raise odd[0] if odd else malformed(path, 1, "T_TG s", "no row with tokens and times")


@dataclass(frozen=True, slots=True)
class _Part:
    """A table of the page, whether its N_KV is a depth, and what is printed above it."""

    table: Table
    is_sweep: bool
    settings: Mapping[str, JsonValue]


class _About(NamedTuple):
    """What the runs of a table share: the table, what tells it from others on its page, notes on rows left out."""

    part: _Part
    where: Mapping[str, JsonValue]
    notes: Sequence[str]


def _tables(lines: Sequence[str]) -> list[_Part]:
    found = tables(lines, (_SWEEP, _BATCHED))
    return [_Part(table, table.columns is _SWEEP, _settings(table.above)) for table in found]


def _settings(above: Sequence[str]) -> dict[str, JsonValue]:
    printed = [found[1] for line in above if (found := _SETTINGS.search(line))]
    return dict(_PAIR.findall(printed[-1])) if printed else {}


def _rows(text: str) -> list[_Part]:
    """Return objects of JSON as tables: those of one setting are one."""
    by_settings: dict[str, _Part] = {}
    for found in parts_of(json_in(text)) if '"speed_tg"' in text else ():
        row = found.content or {}
        if {"n_kv_max", "t_tg", "t_pp"} <= row.keys():
            settings = {name: value for name, value in row.items() if name not in _JSON}
            part = _Part(Table(found.line, [], _BATCHED), "pl" not in row, settings)
            cells = {_JSON[name]: value for name, value in row.items() if name in _JSON}
            by_settings.setdefault(json.dumps(settings, default=str), part).table.rows.append((found.line, cells))
    return list(by_settings.values())


def _is_whole(gathered: Gathered) -> bool:
    found = gathered.sample
    is_told = {"prompt_tokens", "output_tokens", "prefill_s", "decode_s"} <= found.keys()
    rows = gathered.run.get("batch_size", 1)
    return is_told and 1 <= rows <= 10_000 and max(found["prompt_tokens"], found["output_tokens"]) <= MOST_TOKENS


def _records(run_id: str, line: int, gathered: Gathered, about: _About) -> Iterator[Run | Sample]:
    part, where, notes = about
    sample, rows = gathered.sample, gathered.run.get("batch_size", 1)
    file = file_in(part.table.above)
    depth = gathered.run.pop("depth", None)
    tokens, prompt = sample["output_tokens"], sample["prompt_tokens"]
    is_shared = str(part.settings.get("is_pp_shared", 0)) == "1"
    yield gathered.as_run(
        run_id,
        "llama-cpp",
        kind="autoregressive",
        model=model_of("", file) or UNKNOWN,
        quantisation=format_of("", file) or UNKNOWN,
        batch_size=rows,
        depth=depth if part.is_sweep else 0,
        max_new_tokens=tokens or None,
        samples=rows,
        ignore_eos=True,
        source_line=line,
        options={"n_prompt": prompt, "n_gen": tokens},
        conditions={**part.settings, **where},
        notes=(
            "times have three decimals; a row's prefill and decode speed are those of one sequence among the batch",
            *(("the prompt is shared: it was read once for all sequences",) if is_shared else ()),
            *(("batch speed counts the generation alone, as the tool's S_TG does",) if rows > 1 else ()),
            *notes,
        ),
    )
    sample["prefill_s"] = sample["prefill_s"] or None
    decode_s = sample["decode_s"] or None
    if tokens and decode_s:
        sample |= {"decode_tokens": tokens, "decode_forwards": tokens}
    else:
        sample["decode_s"] = None
    first = gathered.as_sample(run_id, 0, finish="length", batch=0, batch_s=decode_s, source_line=line)
    yield first
    yield from (first.model_copy(update={"index": index}) for index in range(1, rows))
