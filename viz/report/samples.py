"""Every problem with what each cell answered, packed so that thousands of outputs fit into the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from typing import Any

from ...collate.comparison.observations import is_unknown, keyed
from ...collate.comparison.result import Comparison, ComparisonRow
from ...core.records.store import Store

_FIGURES = ("ttft_s", "decode_tokens_per_s", "duration_s", "score")
_TOLD = ("output_tokens", "finish", "reason", "reason_code", "extracted")

# The round that is compared token for token stands for its cell: the first finished one.
_SQL = f"""
WITH chosen AS (
    SELECT run_id, cell_id FROM runs WHERE experiment = $experiment AND status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY cell_id ORDER BY round, started_at, run_id) = 1
)
SELECT c.cell_id, s.run_id, s."index", s.sample_id, s.prompt_hash, s.prompt, s.text, s.reference,
       {", ".join((*_FIGURES, *_TOLD))}
FROM chosen c JOIN sample_metrics s USING (run_id) WHERE NOT s.is_warmup ORDER BY c.cell_id, s."index"
"""
_VARIANTS_SQL = """
SELECT r.cell_id, coalesce(s.sample_id, s.prompt_hash) AS name, s.prompt_hash,
       count(DISTINCT coalesce(CAST(s.output_ids AS VARCHAR), s.text)) AS outputs
FROM samples s JOIN runs r USING (run_id)
WHERE r.experiment = $experiment AND r.status = 'ok' AND s.status = 'ok' AND NOT s.is_warmup
GROUP BY ALL HAVING outputs > 1
"""


def sample_data(store: Store, comparison: Comparison) -> dict[str, Any]:
    """Return every problem and each cell's answer to it, as JSON can hold it.

    Keys: ``texts`` (prompts and outputs, each once), ``problems`` (``[name, reference]``) and ``cells``, in the order
    of the comparison's rows: a table by column whose ``problem``, ``prompt`` and ``text`` are indices into the former
    two, ``base`` the row that it is compared with, and ``diverges`` where its outputs leave that row's, by problem.
    """
    texts, problems = _Numbered(), _Numbered()
    references: dict[int, str | None] = {}
    by_cell, outputs = _answers(store, comparison.experiment)
    cells = []
    for place, row in enumerate(comparison.rows):
        table: dict[str, list[Any]] = {}
        for name, sample in _named(by_cell.get(row.cell.cell_id, [])):
            problem = problems.number(name)
            references.setdefault(problem, sample["reference"])
            line = {"problem": problem, "prompt": texts.number(sample["prompt"] or ""), **_told(sample)}
            line["text"] = texts.number(sample["text"] or "")
            line["outputs"] = outputs.get((row.cell.cell_id, sample["sample_id"] or sample["prompt_hash"]), 1)
            for key, value in line.items():
                table.setdefault(key, []).append(value)
        compared = {
            "base": _base(comparison, place),
            "comparable": _is_comparable(row),
            "diverges": _divergences(row, problems),
        }
        cells.append(compared | table)
    named = [[name, references.get(number)] for name, number in problems.items()]
    return {"texts": list(texts), "problems": named, "cells": cells}


def _answers(store: Store, experiment: str) -> tuple[dict[str, list[dict[str, Any]]], dict[tuple[str, str], int]]:
    """Return the answers by cell, and how many different ones there are where rounds disagree, by cell and problem."""
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for sample in store.dicts(_SQL, {"experiment": experiment}):
        by_cell.setdefault(sample["cell_id"], []).append(sample)
    unlike = store.dicts(_VARIANTS_SQL, {"experiment": experiment})
    return by_cell, {(row["cell_id"], row["name"]): row["outputs"] for row in unlike}


def _told(sample: dict[str, Any]) -> dict[str, Any]:
    figures = {key: None if sample[key] is None else float(f"{sample[key]:.4g}") for key in _FIGURES}
    return figures | {key: sample[key] for key in _TOLD}


def packed(content: object) -> str:
    """Return JSON as base64 of gzip, which the browser unpacks by itself; equal content gives equal text."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


class _Numbered(dict[str, int]):
    """Texts by number, each once."""

    def number(self, text: str) -> int:
        return self.setdefault(text, len(self))


def _named(samples: Iterable[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Name the problem of each sample as parity does: its id, else its prompt's hash; else its place in the run."""
    return [
        (f"sample {sample['index']}" if is_unknown(key) else _spelled(*key), sample) for key, sample in keyed(samples)
    ]


def _spelled(name: str, again: int) -> str:
    return f"{name} ({again + 1})" if again else name


def _base(comparison: Comparison, place: int) -> int:
    """Return the row that a row is compared with: with groups, each baseline stands before the others of its group."""
    return max(i for i, row in enumerate(comparison.rows[: place + 1]) if row.verdict == "baseline" or i == 0)


def _is_comparable(row: ComparisonRow) -> bool:
    return row.parity.verdict in ("identical", "ties only", "differs")


def _divergences(row: ComparisonRow, problems: _Numbered) -> dict[int, list[float | None]]:
    """Return, by problem, the output token at which a cell leaves its baseline, and the log-probability gap there."""
    return {
        problems[at.sample_id]: [at.position, at.logprob_gap, at.top2_margin]
        for at in row.parity.divergences
        if at.sample_id in problems and f"{at.sample_id} (2)" not in problems  # else it is not said which of them
    }
