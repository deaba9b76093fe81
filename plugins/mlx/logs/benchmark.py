"""What `mlx_lm.benchmark` prints: prompt and generation of fixed length, a line per trial.

::

    Timing with prompt_tokens=1024, generation_tokens=64, batch_size=1.
    Trial 1:  prompt_tps=351.905, generation_tps=38.757, peak_memory=3.502, total_time=4.0
    Averages: prompt_tps=358.377, generation_tps=38.813, peak_memory=3.503

With a batch the rates are those of all rows (ml-explore/mlx-lm, `mlx_lm/benchmark.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....core.records.schema import Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.formats import PageFormat
from ....core.sdk.logs.pages import above_of, model_above
from ....core.sdk.logs.runs import UNKNOWN
from .generate import Speed, sample_of

_SETTINGS = re.compile(r"Timing with (prompt_tokens=\d{1,7}, generation_tokens=\d{1,7}(?:, batch_size=\d{1,5})?)")
_TRIAL = re.compile(r"Trial \d{1,6}: +(prompt_tps=.{1,200})")
_AVERAGES = re.compile(r"Averages: +(prompt_tps=.{1,200})")
_PAIR = re.compile(r"(\w+)=([0-9.]{1,30}?)(?=\.?(?:,|\s|$))")
_FIGURES = form(
    Figure("prompt_tps", "published.prompt_tps"),
    Figure("generation_tps", "published.generation_tps"),
    Figure("peak_memory", "run.peak_device_bytes", "GB"),
)


@dataclass(slots=True)
class _Timing:
    """One call of the tool: its settings, a row per trial, and the averages."""

    line: int
    above: Sequence[str]
    settings: Mapping[str, int]
    trials: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    averages: dict[str, str] = field(default_factory=dict)


class MlxBenchmark(PageFormat[_Timing]):
    """Reads one run per call of the tool; a trial is a sample, or a batch of them."""

    name = "mlx-lm-benchmark"
    summary = "what mlx_lm.benchmark prints"
    version = "1"
    words = ("Timing with prompt_tokens=", "generation_tps=")

    def pieces(self, lines: Sequence[str]) -> list[_Timing]:
        """Return the calls that have a trial."""
        found: list[_Timing] = []
        free = 0
        for at, line in enumerate(lines):
            if "prompt_t" not in line:
                continue
            if settings := _SETTINGS.search(line):
                found.append(
                    _Timing(at + 1, above_of(lines, free, at), {n: int(v) for n, v in _PAIR.findall(settings[1])})
                )
                free = at + 1
            elif found and (trial := _TRIAL.search(line)):
                found[-1].trials.append((at + 1, dict(_PAIR.findall(trial[1]))))
                free = at + 1
            elif found and (averages := _AVERAGES.search(line)):
                found[-1].averages = dict(_PAIR.findall(averages[1]))
                free = at + 1
        return [timing for timing in found if timing.trials]

    def records(self, run_id: str, piece: _Timing, where: Mapping[str, str | int]) -> Iterator[Run | Sample]:
        """Yield the run of a call and its trials."""
        prompt, output = (min(piece.settings[name], MOST_TOKENS) for name in ("prompt_tokens", "generation_tokens"))
        rows = min(max(1, piece.settings.get("batch_size", 1)), 10_000)
        model = model_above(piece.above)
        gathered = gather(_FIGURES, piece.averages or piece.trials[-1][1])
        yield gathered.as_run(
            run_id,
            "mlx",
            kind="autoregressive",
            model=model or UNKNOWN,
            batch_size=rows,
            max_new_tokens=output or None,
            samples=len(piece.trials) * rows,
            options={"prompt_tokens": prompt, "generation_tokens": output},
            conditions=where,
            source_line=piece.line,
            derived=("prefill_s", "decode_s"),
            notes=(
                "times follow from counts and printed rates, which have three decimals",
                "the tool's generation clock begins with its first token: decode speed counts the tokens after it",
            ),
        )
        for trial, (line, pairs) in enumerate(piece.trials):
            speeds = {name: float(text) for name, text in pairs.items() if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text)}
            prefill = Speed(prompt, speeds.get("prompt_tps", 0) / rows)
            decode = Speed(output, speeds.get("generation_tps", 0) / rows)
            sample = sample_of(run_id, 0, prefill, decode, line)
            batch = {"batch": trial, "batch_s": sample.duration_s} if rows > 1 else {}
            for row in range(rows):
                yield sample.model_copy(update={"index": trial * rows + row, "finish": "length", **batch})
