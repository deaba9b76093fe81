"""What reading logs and comparing costs at a size that hurts: by default 10 million steps from 1,000 logs.

The logs are written first, as a llama.cpp round writes them (greedy: the rounds of a cell commit the same tokens, only
their times differ); that is not timed. Then ``collate`` into a new store, ``collate`` with nothing to do, ``compare``
and ``findings`` run as a user runs them, each in a process of its own, and beside them ``plain_statistics.py``, a
script with csv and statistics, on the same steps as CSV. Time is wall time from start to end of the process and the
CPU time of all its threads, memory its peak resident set.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click

from decodebench.core.measure.machine.environment import capture
from decodebench.core.records.raw_log import RawLogWriter
from decodebench.core.sdk.cores import cores

_CELLS = 10
_WORDS = (" the", " of", " and", "\n", " à", " number", ",", " 42", ' "', " therefore")
_FIELDS = ("cell", "round", "sample", "index", "step_s", "tokens")
_LIMITS = {"collate": "60 s, 1500 MB", "compare": "2 s"}  # at the default size, on two idle cores


@dataclass(frozen=True)
class Size:
    """How much is written."""

    logs: int
    samples: int
    steps: int

    @property
    def in_all(self) -> int:
        """Steps over all logs."""
        return self.logs * self.samples * self.steps


@dataclass(frozen=True)
class Cost:
    """One command: median and all of its wall times, median CPU time, largest resident set, and load before each."""

    what: str
    wall_s: float
    cpu_s: float
    all_s: tuple[float, ...]
    peak_rss_mb: float
    load: tuple[float, ...]


def write_log(folder: Path, size: Size, number: int) -> None:
    """Write one round as a raw log under ``folder/out`` and as CSV under ``folder/csv``."""
    rng = random.Random(number)
    cell, index = number % _CELLS, number // _CELLS
    speed = (1 + 0.03 * cell) * rng.gauss(1, 0.01)
    backend = f"engine-{cell}"
    head = {
        "schema": 1, "run_id": str(uuid.UUID(int=rng.getrandbits(128))), "experiment": "large", "cell_id": backend,
        "round": index, "order": number, "cell_index": cell,
        "started_at": f"2026-01-01T{index // 60:02d}:{index % 60:02d}",
        "backend": backend, "model": "m", "model_hash": "f" * 64, "quantisation": "f16", "device": "cpu",
        "options": {"n_threads": 2}, "task": "made", "samples": size.samples - 1, "warmup": 1,
        "max_new_tokens": size.steps, "first_step_is_prefill": True,
    }  # fmt: skip
    with (
        RawLogWriter(folder / "out" / "raw" / backend / f"{backend}_{index}.jsonl") as log,
        (folder / "csv" / f"{backend}_{index}.csv").open("w", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(_FIELDS)
        log.write("run", head)
        log.write("load", {"load_s": 1.0, "parameters": 10**9, "weight_bytes": 2 * 10**9})
        for sample in range(size.samples):
            steps = list(_steps(sample, size, speed, rng))
            log.write("sample", _sample(sample, steps))
            for step in steps:
                log.write("step", {"sample": sample, **step})
                table.writerow((backend, index, sample, step["index"], step["step_s"], step["tokens"]))
        log.write("end", {"status": "ok", "wall_s": 100.0, "peak_rss_bytes": 3 * 10**9})
        log.close()


def _steps(sample: int, size: Size, speed: float, rng: random.Random) -> Iterator[dict[str, Any]]:
    tokens = random.Random(sample)
    now = 0.0
    for index in range(size.steps):
        token = tokens.randrange(32_000)
        step_s = round((0.2 if index == 0 else 0.01) * speed * rng.uniform(0.95, 1.05), 9)
        now += step_s
        yield {
            "index": index, "t_s": round(now, 9), "step_s": step_s, "tokens": 1, "token_ids": [token],
            "text": _WORDS[token % len(_WORDS)], "forwards": 1,
        }  # fmt: skip


def _sample(index: int, steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "index": index, "sample_id": f"made/{index}", "is_warmup": index == 0, "prompt": "Question: what is made?",
        "prompt_tokens": 50, "prompt_hash": f"{index:016x}", "output_tokens": len(steps),
        "output_ids": [step["token_ids"][0] for step in steps], "text": "".join(step["text"] for step in steps),
        "finish": "length", "start_s": 1.0, "duration_s": steps[-1]["t_s"], "batch_s": steps[-1]["t_s"],
    }  # fmt: skip


def _write_log(job: tuple[Path, Size, int]) -> None:
    write_log(*job)


def write_all(folder: Path, size: Size) -> int:
    """Write every log and return the bytes of the raw logs."""
    (folder / "csv").mkdir(parents=True)
    with ProcessPoolExecutor(cores()) as pool:
        list(pool.map(_write_log, ((folder, size, number) for number in range(size.logs)), chunksize=8))
    return sum(path.stat().st_size for path in (folder / "out" / "raw").rglob("*.jsonl"))


def cost_of(what: str, command: Sequence[str], repetitions: int) -> Cost:
    """Run a command some times, each in a process of its own."""
    walls, cpu, peaks, loads = [], [], [], []
    for _ in range(repetitions):
        loads.append(os.getloadavg()[0])
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        walls.append(time.perf_counter() - start)
        cpu.append(usage.ru_utime + usage.ru_stime)
        peaks.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(what, statistics.median(walls), statistics.median(cpu), tuple(walls), max(peaks), tuple(loads))


def measure(folder: Path, repetitions: int) -> list[Cost]:
    """Time every command on what ``write_all`` wrote."""
    ours = [sys.executable, "-m", "decodebench"]
    out = str(folder / "out")
    plain = [sys.executable, str(Path(__file__).with_name("plain_statistics.py")), str(folder / "csv")]
    return [
        cost_of("collate", [*ours, "collate", out], 1),
        cost_of("collate, nothing new", [*ours, "collate", out], repetitions),
        cost_of("compare", [*ours, "compare", out], repetitions),
        cost_of("findings", [*ours, "findings", out], repetitions),
        cost_of("csv and statistics", plain, 1),
    ]


def markdown(costs: Sequence[Cost], size: Size, size_bytes: int, command: str) -> str:
    """Return the table with command, machine, date and load."""
    machine = capture(anonymise=True, with_bandwidth=False)
    lines = [
        f"`{command}`: {size.in_all:,} steps, {size.logs:,} logs, {size_bytes / 1e9:.2f} GB; "
        f"{date.today().isoformat()}, {machine.cpu_model}, {machine.cores_used} cores, {machine.platform} "
        f"{machine.machine}, Python {platform.python_version()}",
        "",
        "| command | wall time | CPU time | peak memory | limit | system load before |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cost in costs:
        limit = _LIMITS.get(cost.what, "-") if size.in_all == 10**7 else "-"
        load = " ".join(f"{load:.1f}" for load in cost.load)
        lines.append(
            f"| {cost.what} | {cost.wall_s:.2f} s | {cost.cpu_s:.2f} s | {cost.peak_rss_mb:.0f} MB | {limit} | {load} |"
        )
    return "\n".join(lines)


@click.command()
@click.option("--logs", type=click.IntRange(2), default=1000, show_default=True)
@click.option("--samples", type=click.IntRange(2), default=20, show_default=True, help="Per log, a warm-up included.")
@click.option("--steps", type=click.IntRange(2), default=500, show_default=True, help="Per sample.")
@click.option("--repetitions", type=click.IntRange(1), default=5, show_default=True, help="Of what takes seconds.")
@click.option("--scratch", type=click.Path(file_okay=False, path_type=Path), help="Where to write (some 4 GB).")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write every figure there, too.")
def main(logs: int, samples: int, steps: int, repetitions: int, scratch: Path | None, file: Path | None) -> None:
    """Time collate, compare and findings beside a plain script."""
    size = Size(logs, samples, steps)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        size_bytes = write_all(Path(folder), size)
        costs = measure(Path(folder), repetitions)
    if file is not None:
        content = {**asdict(size), "bytes": size_bytes, "costs": [asdict(cost) for cost in costs]}
        file.write_text(json.dumps(content, indent=2) + "\n")
    sizes = f"--logs {logs} --samples {samples} --steps {steps} --repetitions {repetitions}"
    click.echo(markdown(costs, size, size_bytes, f"python benchmarks/collate.py {sizes}"))


if __name__ == "__main__":
    main()
