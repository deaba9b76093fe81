"""Tables of speeds with and without speculation, as people post them.

::

    | Card | Baseline | With flag | n-max | Acceptance | Contributor |
    |---|---|---|---|---|---|
    | RTX 3090 24GB | 31.0 | 41.3 | 2 | 0.78 | [@somebody](https://...) |

    | n-max | Overall | Acceptance |
    |---|---|---|
    | off | 44.8 | - |
    | 2 | 65.7 (+47%) | 0.75 |

Each speed is a run without samples; those of a row differ in the speculation alone. Form: the community's tables of
sudoingX/qwen38-mtp (0cd52da). A page must say somewhere that its speeds are tokens per second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Environment, Run
from ....core.sdk.gguf.names import format_of, model_of
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.pages import Table, place_of, ruled_tables
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_BASELINE = ("baseline", "spec off")
_FLAGGED = re.compile(r"with flag|(?:with )?mtp(?: n[ =-]?\d{1,2})?|n-max \d{1,2}", re.IGNORECASE)
_WAY = ("n-max", "spec", "config", "arm")
_SPEED = ("overall median", "overall", "tok/s (median)", "tok/s")
_OFF = re.compile(r"(?:spec )?off\b|baseline\b|no (?:flag|spec)", re.IGNORECASE)
_DRAFTED = re.compile(r"\bn(?:-max)?[ =-]?(\d{1,2})\b|\A(\d{1,2})\b(?! ?[.x%])")
_P_MIN = re.compile(r"p-min`?[ =]?(\d(?:\.\d{1,3})?)")
_PRINTED = re.compile(r"(\d{1,5}(?:[.,]\d{1,3})?)(?: avg)?(?: ?\([^|]{1,60}\))?[ *\\]{0,3}")
_UNIT = re.compile(r"\b(?:tok|tokens|t)/s\b|\btokens per second\b")
_FORMAT = re.compile(r"\b(?:UD[-_])?((?:IQ|Q)\d_?\w{0,8}|NVFP4|BF16|F16)\b")
_FILE = re.compile(r"(?:-m|--model)[ =]+['\"]?(\S{1,300}?\.gguf)")
_GPU = re.compile(r"\b(?:RTX|GTX|RX|Radeon|Tesla|Instinct|CMP|Apple M\d|M\d Ultra|[AHB]\d{2,4})\b")
_RESULT = re.compile(
    r"P\d |overall|mean|median|tok/s|acceptance|gain|delta|ratio|vs |vram|mem|headroom|prefill|n-max|p-min",
    re.IGNORECASE,
)  # columns that say how it went, or that are read by themselves
_FIGURES = form(
    Figure("speed", "totals.tokens_per_s"),
    Figure("acceptance", "published.acceptance_rate"),
    Figure("num_draft_tokens", "option.num_draft_tokens", "count"),
    Figure("p_min", "option.p_min"),
)


@dataclass(frozen=True, slots=True)
class _Speed:
    """A speed of a table.

    Attributes:
        line: its row.
        text: as printed.
        cells: the row's other cells by column.
        drafts: what was printed of its speculation; None where there was none.
    """

    line: int
    text: str
    cells: Mapping[str, str]
    drafts: Mapping[str, str] | None


class SpeculationTable(LogParser):
    """Reads one run per speed."""

    name: ClassVar[str] = "speculation-table"
    summary: ClassVar[str] = "posted tables of speeds with and without speculation (Markdown)"
    version: ClassVar[str] = "1"
    within_pages: ClassVar[bool] = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a table with both kinds of speeds, and for their unit."""
        text = text_of(path)
        return (
            "|" in text
            and "-max" in text
            and _UNIT.search(text) is not None
            and any(True for _ in _tables(text.split("\n")))
        )

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = list(_tables(text.split("\n")))
        if not found:
            raise malformed(path, 1, "Baseline", "no table has speeds with and without speculation")
        files = {hit for table, _ in found for line in table.above for hit in _FILE.findall(line)}
        about = {
            "model": model_of("", files.pop()) or UNKNOWN if len(files) == 1 else UNKNOWN,
            "backend": "llama-cpp" if "llama.cpp" in text or "llama-server" in text else UNKNOWN,
        }
        number = 0
        for at, (table, speeds) in enumerate(found):
            where = place_of(table.above, at, len(found))
            for speed in speeds:
                yield _run(f"{base}-{number:04d}", speed, about, where)
                number += 1


def _tables(lines: Sequence[str]) -> Iterator[tuple[Table, list[_Speed]]]:
    return ((table, speeds) for table in ruled_tables(lines) if (speeds := list(_speeds(table))))


def _speeds(table: Table) -> Iterator[_Speed]:
    """Yield the speeds of a table: columns side by side, or a row for each."""
    names = {name.lower(): name for name in table.columns}
    plain = next((names[name] for name in _BASELINE if name in names), None)
    flagged = [name for name in table.columns if _FLAGGED.fullmatch(name)]
    way = next((names[name] for name in _WAY if name in names), None)
    speed = next((names[name] for name in _SPEED if name in names), None)
    for line, cells in table.rows:
        acceptance = next((cell for name, cell in cells.items() if "acceptance" in name.lower()), "")
        if plain and flagged:
            others = {name: cell for name, cell in cells.items() if name not in (plain, *flagged)}
            yield _Speed(line, cells[plain], others, None)
            for name in flagged:
                told = (name, f"n{cells.get(names.get('n-max', ''), '')}", cells[name].partition("(")[2])
                drafted = next(filter(None, map(_drafted, told)), "")
                yield _Speed(line, cells[name], others, {"num_draft_tokens": drafted, "acceptance": acceptance})
        elif way and speed and _PRINTED.fullmatch(cells[speed]):
            others = {name: cell for name, cell in cells.items() if name not in (way, speed)}
            gate = _P_MIN.search(cells[way])
            drafts = {
                "num_draft_tokens": _drafted(cells[way]),
                "acceptance": acceptance,
                "p_min": gate[1] if gate else cells.get(names.get("p-min", ""), ""),
            }
            if _OFF.search(cells[way]):
                yield _Speed(line, cells[speed], others, None)
            elif drafts["num_draft_tokens"]:
                yield _Speed(line, cells[speed], others, drafts)


def _drafted(text: str) -> str:
    hit = _DRAFTED.search(text)
    return hit[1] or hit[2] if hit else ""


def _run(run_id: str, speed: _Speed, about: Mapping[str, str], where: Mapping[str, str | int]) -> Run:
    row = {name.lower(): cell for name, cell in speed.cells.items()}
    heading = str(where.get("heading", ""))
    card = row.get("card") or (heading.partition(":")[0] if _GPU.search(heading) else "")
    quantised = _FORMAT.search(row.get("quant") or card)
    drafts = dict(speed.drafts or {})
    for name, text in (("speed", speed.text), ("acceptance", drafts.get("acceptance", ""))):
        printed = _PRINTED.fullmatch(text)
        drafts[name] = printed[1] if printed else text
    gathered = gather(_FIGURES, {name: text for name, text in drafts.items() if text.strip("-—– ")})
    told = {name: cell for name, cell in speed.cells.items() if cell.strip("-—– ")}
    gathered.condition |= {name.lower(): cell for name, cell in told.items() if not _RESULT.search(name)}
    gathered.extra |= {name: cell for name, cell in told.items() if _RESULT.search(name)}
    return gathered.as_run(
        run_id,
        about["backend"],
        kind="speculative" if speed.drafts else "autoregressive",
        model=about["model"],
        quantisation=format_of(f" {quantised[1]}") or UNKNOWN if quantised else UNKNOWN,
        environment=Environment(gpu=(card.partition("(")[0].strip(),)) if card else None,
        conditions=dict(where),
        source_line=speed.line,
        notes=("a printed speed alone, without tokens and times: it is kept as printed",),
    )
