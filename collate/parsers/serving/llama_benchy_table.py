"""The table that llama-benchy prints: llama-bench's tests against any server, a row each.

::

    | model               |   test |             t/s |     peak t/s |       ttfr (ms) | est_ppt (ms) | e2e_ttft (ms) |
    |:--------------------|-------:|----------------:|-------------:|----------------:|-------------:|--------------:|
    | openai/gpt-oss-120b | pp2048 | 2019.02 ± 34.98 |              | 1054.64 ± 17.57 | ...          | ...           |
    | openai/gpt-oss-120b |   tg32 |    52.94 ± 0.01 | 54.00 ± 0.00 |                 |              |               |

With several requests at a time `t/s (total)` is that of all, `t/s (req)` that of one, and a test ends in `(c5)`
(eugr/llama-benchy 0.4.0). A generation rate is of the tokens after the first, as in its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....core.records.schema import Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, plain_number
from ....core.sdk.logs.formats import PageFormat
from ....core.sdk.logs.pages import Table, ruled_tables
from ....core.sdk.logs.runs import UNKNOWN, bare_run

_NEEDED = {"model", "test", "ttfr (ms)"}
_TEST = re.compile(
    r"(?P<what>pp|tg|ctx_pp|ctx_tg)(?P<tokens>\d{0,7})(?: ?@ ?d(?P<depth>\d{1,7}))?(?: \(c(?P<c>\d{1,5})\))?"
)
_MEAN = re.compile(r"(\d{1,9}(?:[.,]\d{1,6})?)(?: ?± ?(\d{1,9}(?:[.,]\d{1,6})?))?")


class LlamaBenchyTable(PageFormat[Table]):
    """Reads one run per row, whose sample is the mean of its repetitions."""

    name = "llama-benchy-table"
    summary = "the table that llama-benchy prints"
    version = "1"
    words = ("ttfr (ms)", "test")

    def pieces(self, lines: Sequence[str]) -> Iterator[Table]:
        """Yield the tables that have a test with its rate."""
        found = (table for table in ruled_tables(lines) if set(table.columns) >= _NEEDED)
        return (table for table in found if any(_asked(cells) for _, cells in table.rows))

    def records(self, run_id: str, piece: Table, where: Mapping[str, str | int]) -> Iterator[Run | Sample]:
        """Yield the run and the sample of each row."""
        asked = [(line, cells, test) for line, cells in piece.rows if (test := _asked(cells))]
        for at, (line, cells, test) in enumerate(asked):
            own_id, requests = f"{run_id}-{at:04d}", int(test["c"] or 1)
            sample = _sample(cells, test)
            yield bare_run(
                own_id,
                "llama-benchy",
                model=cells["model"] or UNKNOWN,
                depth=int(test["depth"] or 0),
                max_new_tokens=sample.get("output_tokens"),
                options={"test": cells["test"].partition(" ")[0], "concurrency": requests},
                conditions=dict(where),
                settings={f"published_{name}": text for name, text in cells.items() if text and name not in _NEEDED},
                samples=1,
                source_line=line,
                notes=(
                    "the one sample is the mean of an unknown number of repetitions; tokens are those asked for",
                    "the server's network latency, as the tool measured it, is taken off the prompt's time",
                    *(("a sample is one request, at the rates of a request",) if requests > 1 else ()),
                ),
            )
            yield Sample(run_id=own_id, index=0, sample_id="mean", source_line=line, **sample)


def _asked(cells: Mapping[str, str]) -> re.Match[str] | None:
    """Return what a row tested; None where it is no test with its rate."""
    test = _TEST.fullmatch(cells["test"])
    return test if test and _tokens(test) and _rate(cells) else None


def _tokens(test: re.Match[str]) -> int:
    """Return how many tokens were read or generated; those of a context are its depth."""
    return min(int(test["tokens"] or (test["depth"] if test["what"] == "ctx_pp" else "") or 0), MOST_TOKENS)


def _rate(cells: Mapping[str, str]) -> tuple[float, float | None] | None:
    """Return the mean rate of a request and its deviation."""
    found = _MEAN.fullmatch(cells.get("t/s (req)") or cells.get("t/s") or "")
    mean, deviation = (plain_number(text) if text else None for text in found.groups()) if found else (None, None)
    return (mean, deviation) if mean else None


def _sample(cells: Mapping[str, str], test: re.Match[str]) -> dict[str, Any]:
    rate, deviation = _rate(cells) or (0.0, None)
    tokens = _tokens(test)
    variation = None if deviation is None else deviation / rate
    if test["what"].endswith("pp"):
        first = _MEAN.fullmatch(cells.get("e2e_ttft (ms)", ""))
        first_ms = plain_number(first[1]) if first else None
        return {
            "prompt_tokens": tokens,
            "output_tokens": None,
            "prefill_s": tokens / rate,
            "first_token_s": None if first_ms is None else first_ms / 1e3,
            "variation": variation,
        }
    decoded = {"decode_tokens": tokens - 1, "decode_s": (tokens - 1) / rate} if tokens > 1 else {}
    return {"output_tokens": tokens, **decoded, "variation": variation}
