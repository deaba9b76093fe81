"""The store as the published DFlash scripts would have written it, for notebooks made for their files.

For every run of the backend: ``*_samples.jsonl`` (result rows), ``*_cycles.jsonl`` (the cycle trace, where cycles have
times or seeds) and a row of ``summary.csv`` (fixed block sizes). The fields are the published ones (AtharvRN/dflash),
and three more: ``output_ids`` of a result, which published rows lack, so that outputs can be compared with one another;
``used_block_sizes`` of every result, which only the dynamic script's have; ``committed_tokens`` of a cycle, since a
published trace does not say what a stop token or the limit cut off.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ... import UsageError, csv_cell, write_whole
from ...core.contract.exporter import Exporter
from ...core.records.store import Store
from .export_rows import result_rows, trace_rows
from .export_run import Json, Run, Sample, baseline_of, load_runs

SUMMARY_COLUMNS = (
    "dataset", "max_samples", "block_size", "speedup", "tau", "gpu_name", "cuda_version", "torch_version",
    "baseline_total_wall_s", "speculative_total_wall_s", "baseline_tokens_per_sec", "speculative_tokens_per_sec",
    "baseline_tpot", "speculative_tpot", "baseline_ttft", "speculative_ttft", "acceptance_histogram", "log_path",
    "output_jsonl_path",
)  # fmt: skip


def write(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write the files; each appears whole or not at all.

    A run with blocks of one token is the baseline of the runs with the same model, prompts and machine, and a file of
    its own where there is none. What the store does not have is null; a run without times per prompt has no result
    rows, one without any sample (a console log, a table) only its row in ``summary.csv``.

    Raises:
        UsageError: there is no run of the backend, or none that has anything to write.
    """
    runs = load_runs(store, experiment)
    written: list[Path] = []
    summary: list[list[object]] = []
    baselines = [run for run in runs if run.is_baseline]
    used: set[str] = set()
    for run in [run for run in runs if not run.is_baseline]:
        baseline = baseline_of(run, baselines)
        if baseline:
            used.add(baseline.row["run_id"])
        written += _write_run(run, baseline, folder, summary)
    for run in baselines:
        if run.samples and run.row["run_id"] not in used:
            written += _write_run(run, run, folder, summary)
    if summary:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([SUMMARY_COLUMNS, *(map(csv_cell, row) for row in summary)])
        written.append(write_whole(folder / "summary.csv", table.getvalue()))
    if not written:
        raise UsageError(
            "no run of backend 'dflash' has times, cycles or a fixed block size to write", code="no-results"
        )
    return written


EXPORTER = Exporter("dflash", "files of the published DFlash scripts: result rows, cycle traces, summary.csv", write)


def _write_run(run: Run, baseline: Run | None, folder: Path, summary: list[list[object]]) -> Iterator[Path]:
    """Write the files of one run, and append its row of the summary where it has one."""
    samples = folder / f"{run.stem}_samples.jsonl"
    if run.is_timed:
        yield write_whole(samples, _jsonl(result_rows(run, baseline if baseline and baseline.is_timed else None)))
    if run.has_trace:
        yield write_whole(folder / f"{run.stem}_cycles.jsonl", _jsonl(trace_rows(run, baseline)))
    is_plain = run.method == "speculative" and not (run.has_candidates or run.has_seeds)
    if is_plain and (_figures(run) or "published_tpot_speedup" in run.settings):
        summary.append(_summary(run, baseline, str(samples) if run.is_timed else None))


def _summary(run: Run, baseline: Run | None, samples_path: str | None) -> list[object]:
    """Return the row of ``SUMMARY_COLUMNS``; what is not known is NA."""
    ours, base = _figures(run), _figures(baseline) if baseline else {}
    packages = run.row["environment"].get("packages") or {}
    gpu = run.row["environment"].get("gpu") or [None]
    speedup = run.settings.get("published_tpot_speedup")
    if speedup is None and ours.get("tpot_s") and base.get("tpot_s"):
        speedup = f"{base['tpot_s'] / ours['tpot_s']:.2f}"
    pairs = [
        _decimal(figures.get(name))
        for name in ("total_wall_s", "tokens_per_s", "tpot_s", "ttft_s")
        for figures in (base, ours)
    ]
    row = [
        run.row["task"], len(run.samples) or run.row["samples"] or None, run.block_size, speedup,
        f"{ours['tau_mean']:.2f}" if "tau_mean" in ours else None, gpu[0], packages.get("cuda"), packages.get("torch"),
        *pairs, _histogram(run), run.row["source_file"], samples_path,
    ]  # fmt: skip
    return ["NA" if value is None else value for value in row]


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _figures(run: Run) -> dict[str, float]:
    """Return the published aggregates: means over samples; of a run without samples those that its log prints."""
    if not run.samples:
        names = ("total_wall_s", "tokens_per_s", "tpot_s", "ttft_s", "tau_mean")
        return {n: float(run.settings[f"published_{n}"]) for n in names if f"published_{n}" in run.settings}
    samples = list(run.samples.values())

    def mean(value_of: Callable[[Sample], float | None]) -> float | None:
        values = [value for sample in samples if (value := value_of(sample)) is not None]
        return sum(values) / len(values) if len(values) == len(samples) else None

    wall_s = mean(lambda sample: sample.wall_s)
    total_s = None if wall_s is None else wall_s * len(samples)
    found = {
        "total_wall_s": total_s,
        "tokens_per_s": sum(sample.tokens for sample in samples) / max(total_s, 1e-8) if total_s is not None else None,
        "tpot_s": mean(lambda sample: sample.tpot_s),
        "ttft_s": mean(lambda sample: sample.ttft_s),
        "tau_mean": mean(lambda sample: sum(sample.taus) / len(sample.taus) if sample.taus else None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _histogram(run: Run) -> str | None:
    """Return the shares of cycles by tau, from 0 to the block size, as the scripts print them."""
    taus = Counter(tau for sample in run.samples.values() for tau in sample.taus)
    if taus:
        longest = max(run.block_size or 0, *taus)
        shares = [taus[tau] / taus.total() for tau in range(longest + 1)]
    elif "published_tau_shares" in run.settings:
        shares = json.loads(run.settings["published_tau_shares"])
    else:
        return None
    return str([f"{100 * share:.1f}%" for share in shares])


def _jsonl(rows: Iterator[Json]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
