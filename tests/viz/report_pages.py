"""Pages for the tests of the report: a real one from raw logs, and a large one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decodebench.collate.comparison.result import Comparison
from decodebench.core.api.results import open as open_results
from decodebench.core.contract.figure import Figure
from decodebench.viz.report import Content, write_report

from ..collate.conftest import Logs, plain_steps, sample

HOSTILE = '</script><img src=x onerror="window.hacked = true"><b>'
PROBLEMS, ROUNDS, TOKENS = 60, 3, 12
CELLS = (
    # backend, quantisation, bits, gap between tokens in s
    ("transformers", "f16", 16.0, 0.1),
    ("llama-cpp", "f16", 16.0, 0.05),
    ("llama-cpp", "q8_0", 8.5, 0.04),
    ("draft-target", "f16", 16.0, 0.2),
)


def cells_of(count: int) -> list[tuple[str, str, float, float]]:
    """Return so many cells: six engines, one after the other in every format; the second is llama-cpp q8_0."""
    backends = ("transformers", "llama-cpp", "tinygrad", "mlx", "draft-target", "an-engine-whose-name-is-rather-long")
    formats = [("q8_0", 8.5), *((f"w{bits}a16", bits / 2) for bits in range(64, 0, -1))]
    pairs = [(backend, *form) for form in formats for backend in backends][:count]
    return [(*pair, 0.02 + 0.013 * (at * 7 % 11)) for at, pair in enumerate(pairs)]


def write_logs(
    folder: Path,
    *,
    cells: Sequence[tuple[str, str, float, float]] = CELLS,
    problems: int = PROBLEMS,
    rounds: int = ROUNDS,
    noise: float = 0.02,
) -> None:
    """Write rounds of four cells; llama-cpp q8_0 answers every third problem otherwise from its fifth token on."""
    logs = Logs(folder)
    for place, (backend, quantisation, bits, gap) in enumerate(cells):
        for round_ in range(rounds):
            content = [_sample(i, quantisation, gap * (1 + noise * round_)) for i in range(problems)]
            scores = [0.0 if quantisation == "q8_0" and i % 3 == 0 else 1.0 for i in range(problems)]
            logs.write(
                f"{backend}-{quantisation}", round_, content, backend=backend, quantisation=quantisation,
                bits_per_weight=bits, cell_index=place, samples=problems, task="sums", scores=scores,
            )  # fmt: skip


def _sample(index: int, quantisation: str, gap: float) -> dict[str, Any]:
    words = [f"word{i}" for i in range(TOKENS)]
    steps = plain_steps(n=TOKENS, ttft=4 * gap, gap=gap)
    if quantisation == "q8_0" and index % 3 == 0:
        words[4:] = [HOSTILE] * (TOKENS - 4)
        for step in steps[4:]:
            step["token_ids"] = [999]
    prompt = f"{HOSTILE} What is {index} + 1?\nAnswer:"
    return sample(index, steps, text=" ".join(words), prompt=prompt, reference=str(index + 1))


def write_page(folder: Path, compare: Any, *, figures: Sequence[Figure] = (), **chosen: Any) -> Path:
    """Write the page about the logs in ``folder``."""
    with open_results(folder).store as store:
        comparison = compare(store, **chosen)
        page = folder / "report.html"
        return write_report(store, comparison, page, figures=figures, reproduce=f"name = '{HOSTILE}'")


def large_content(comparison: Comparison, problems: int, words: int) -> Content:
    """Return ``problems`` problems for every row, each answered by so many words, no two answers alike."""
    rng = random.Random(7)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    texts: list[str] = []
    cells = []
    for place in range(len(comparison.rows)):
        first = len(texts)
        texts += [" ".join(rng.choices(vocabulary, k=words)) for _ in range(problems)]
        numbers = list(range(problems))
        figures = {name: [round(rng.random(), 4) for _ in numbers] for name in ("ttft_s", "decode_tokens_per_s")}
        cells.append(
            {
                "base": 0,
                "comparable": True,
                "diverges": {i: [3, None, None] for i in numbers[::3]} if place else {},
                "problem": numbers,
                "prompt": [0] * problems,
                "text": [first + i for i in numbers],
                **figures,
                "duration_s": [1.0] * problems,
                "score": [float(rng.random() < 0.5) for _ in numbers],
                "output_tokens": [words] * problems,
                "finish": ["stop"] * problems,
                "reason": [None] * problems,
                "reason_code": [None] * problems,
                "extracted": [None] * problems,
                "outputs": [1] * problems,
            }  # fmt: skip
        )
    samples = {"texts": texts, "problems": [[f"problem {i}", None] for i in range(problems)], "cells": cells}
    return Content(charts=plain_charts(comparison), samples=samples)


def plain_charts(comparison: Comparison) -> dict[str, Any]:
    """Return chart data without rounds and latencies, for pages that no store is behind."""
    speed = {"decode_tokens_per_s": {"label": "Decode speed", "unit": "tokens/s", "better": True}}
    cells = [
        {
            "label": row.cell.label,
            "dimensions": {"backend": row.cell.backend},
            "colour": "#0072B2",
            "onDark": "#0072B2",
            "marker": "circle",
            "verdict": row.verdict,
            "ratio": [row.ratio.value, row.ratio.low, row.ratio.high, 3],
            "metrics": {"decode_tokens_per_s": [100.0, 90.0, 110.0, 3]},
            "accuracy": None,
            "rounds": [],
            "latencies": {},
        }  # fmt: skip
        for row in comparison.rows
    ]
    common = {"metric": comparison.metric, "baseline": comparison.baseline, "minEffect": comparison.min_effect}
    return {**common, "metrics": speed, "latencies": {}, "percentiles": [0.5], "cells": cells}
