"""How time and memory grow with cells, samples, the length of a log and the length of a hostile line.

Logs are written first, which is not timed. Each command then runs as a user runs it, in a process of its own, at two
sizes or more; the exponent says how its CPU time grew from each size to the next: 1 is linear, n log n somewhat above,
2 quadratic. Time is the CPU time of all threads, memory the peak resident set.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click

from decodebench.core.measure.machine.environment import capture

_ROUNDS = 2
_PIECE = "a piece of text, "
_PLUGIN = f"--plugin {Path(__file__).with_name('slowed.py')} --plugin {Path(__file__).with_name('first_launch.py')}"
_RUN = f"{_PLUGIN} run {{folder}}/plan.toml --quiet -o {{folder}}"
_PLAN = """
name = "made"
rounds = 1
launcher = "first-launch"
[workload]
model = "tiny:draft"
prompt_tokens = 8
output_tokens = 2
samples = 1
warmup = 0
[[cells]]
backend = "slowed"
options = {{ products = {{ from = 1, to = {cells} }} }}
"""


@dataclass(frozen=True)
class Cost:
    """What one command took at one size."""

    size: int
    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Case:
    """A quantity that grows.

    Attributes:
        name: what grows, and its unit.
        write: writes logs of a size into an output folder.
        commands: what is run on them, by what the table calls it; ``{folder}`` stands for the folder.
        sizes: by default.
    """

    name: str
    write: Callable[[Path, int], None]
    commands: Mapping[str, str]
    sizes: Sequence[int]


def write_cells(folder: Path, cells: int) -> None:
    """Write so many cells of two rounds, which differ in one option."""
    for cell in range(cells):
        for index in range(_ROUNDS):
            _write_log(folder / "raw" / "made" / f"{cell}_{index}.jsonl", cell, index, samples=2, steps=4)


def write_samples(folder: Path, samples: int) -> None:
    """Write two cells of one round with so many scored answers."""
    for cell in range(2):
        _write_log(folder / "raw" / "made" / f"{cell}.jsonl", cell, 0, samples=samples, steps=1)


def write_attempts(folder: Path, samples: int) -> None:
    """Write the same with four answers to each problem."""
    for cell in range(2):
        _write_log(folder / "raw" / "made" / f"{cell}.jsonl", cell, 0, samples=samples, steps=1, attempts=4)


def write_megabytes(folder: Path, megabytes: int) -> None:
    """Write one log so large that is left to the reader of lines, since its step lines have their own spacing."""
    path = folder / "raw" / "made" / "large.jsonl"
    samples = max(1, megabytes * 10**6 // (1000 * 230))
    _write_log(path, 0, 0, samples=samples, steps=1000, separators=(" , ", " : "))


def write_plan(folder: Path, cells: int) -> None:
    """Write a plan of so many cells of one round each, all but ten of which are there, and a copy in ``unread``."""
    plan = folder / "plan.toml"
    plan.write_text(_PLAN.format(cells=cells), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "decodebench",
        *_PLUGIN.split(),
        "run",
        str(plan),
        "--dry-run",
        "--no-probe",
        "--json",
    ]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    ids = [cell["cell_id"] for cell in json.loads(listed.stdout)["cells"]]
    for at, cell_id in enumerate(ids[:-10]):
        path = folder / "raw" / "slowed" / f"{at}.jsonl"
        _write_log(path, at, 0, samples=1, steps=2, cell_id=cell_id)
    shutil.copytree(folder / "raw", folder / "unread" / "raw")


def _write_log(
    path: Path,
    cell: int,
    index: int,
    *,
    cell_id: str | None = None,
    samples: int,
    steps: int,
    attempts: int = 1,
    separators: tuple[str, str] = (", ", ": "),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for line in _lines(cell, index, samples, steps, attempts):
            line |= {"cell_id": cell_id} if cell_id and line["type"] == "run" else {}
            file.write(json.dumps(line, separators=separators) + "\n")


def _lines(cell: int, index: int, samples: int, steps: int, attempts: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"{cell} {index}")
    speed = (1 + cell % 7 / 10) * rng.uniform(0.95, 1.05)
    yield {
        "type": "run", "schema": 1, "run_id": str(uuid.UUID(int=rng.getrandbits(128))), "experiment": "made",
        "cell_id": f"{cell:016x}", "round": index, "order": 2 * cell + index, "cell_index": cell,
        "started_at": f"2026-01-01T{cell // 3600 % 24:02d}:{cell // 60 % 60:02d}:{cell % 60:02d}+00:00",
        "backend": "made", "model": "m", "quantisation": "f16", "device": "cpu",
        "options": {"n_threads": 2, "n": cell, "width": cell % 5}, "changed_options": ["n", "width"], "task": "made",
        "samples": samples, "attempts": attempts, "warmup": 0, "max_new_tokens": steps, "first_step_is_prefill": True,
    }  # fmt: skip
    yield {"type": "load", "load_s": 1.0, "parameters": 10**9, "weight_bytes": 2 * 10**9}
    for sample in range(samples):
        step_s = 0.01 * speed * rng.uniform(0.9, 1.1)
        yield {
            "type": "sample", "index": sample, "sample_id": f"made/{sample // attempts}", "prompt_tokens": 20,
            "prompt_hash": f"{sample // attempts:016x}", "output_tokens": steps, "output_ids": [7] * steps,
            "text": _PIECE * steps, "finish": "length", "duration_s": step_s * steps,
        }  # fmt: skip
        for step in range(steps):
            yield {
                "type": "step", "sample": sample, "index": step, "t_s": step_s * (step + 1), "step_s": step_s,
                "tokens": 1, "token_ids": [7], "text": _PIECE,
            }  # fmt: skip
    for sample in range(samples):
        yield {"type": "score", "index": sample, "score": float(rng.random() < 0.7), "extracted": None}
    yield {"type": "end", "status": "ok", "wall_s": 100.0, "peak_rss_bytes": 3 * 10**9}


CASES = (
    Case(
        "cells",
        write_cells,
        {name: f"{name} {{folder}}" for name in ("collate", "compare", "findings", "report")},
        (250, 500, 1000, 2000),
    ),
    Case(
        "samples",
        write_samples,
        {name: f"{name} {{folder}}" for name in ("collate", "compare")},
        (25_000, 50_000, 100_000),
    ),
    Case(
        "samples, four a problem",
        write_attempts,
        {name: f"{name} {{folder}}" for name in ("collate", "compare")},
        (25_000, 50_000, 100_000),
    ),
    Case("megabytes of one log", write_megabytes, {"collate": "collate {folder}"}, (125, 250, 500, 1000)),
    Case(
        "cells of a plan, all but ten done",
        write_plan,
        {
            "status, logs not yet seen": "status {folder}",
            "status": "status {folder}",
            "run to its first worker": _RUN,
            "run to its first worker, logs not yet seen": f"{_RUN}/unread",
            "collate --from": "collate {folder}/together --from {folder}",
            "run to its first worker, after collate --from": f"{_RUN}/together",
        },
        (2500, 5000, 10_000),
    ),
)


def cost_of(command: Sequence[str], size: int) -> Cost:
    """Run a command once."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(size, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def measure(case: Case, sizes: Sequence[int], scratch: Path | None) -> dict[str, list[Cost]]:
    """Return the cost of every command at every size, by the command's name."""
    found: dict[str, list[Cost]] = {name: [] for name in case.commands}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            case.write(folder, size)
            for label, words in case.commands.items():
                command = [word.format(folder=name) for word in words.split()]
                found[label].append(cost_of([sys.executable, "-m", "decodebench", *command], size))
    return found


def growth(costs: Sequence[Cost]) -> list[float]:
    """Return the exponent from each size to the next, start-up of the command left out."""
    start_up = cost_of([sys.executable, "-m", "decodebench", "compare", "--help"], 0).cpu_s
    beyond = [(cost.size, max(cost.cpu_s - start_up, 1e-3)) for cost in costs]
    return [math.log(b / a) / math.log(n / m) for (m, a), (n, b) in zip(beyond, beyond[1:], strict=False)]


def markdown(case: Case, found: dict[str, list[Cost]]) -> str:
    """Return a table: a row per command, a column per size."""
    sizes = [cost.size for cost in next(iter(found.values()))]
    lines = [
        f"| {case.name} | {' | '.join(f'{size:,}' for size in sizes)} | exponents |",
        f"| --- |{' --- |' * (len(sizes) + 1)}",
    ]
    for command, costs in found.items():
        cells = " | ".join(f"{cost.cpu_s:.1f} s, {cost.peak_rss_mb:.0f} MB" for cost in costs)
        lines.append(f"| {command} | {cells} | {', '.join(f'{exponent:.2f}' for exponent in growth(costs))} |")
    return "\n".join(lines)


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice([case.name for case in CASES]), help="Only these.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(1), help="In place of a case's own; repeatable.")
@click.option("--scratch", type=click.Path(file_okay=False, path_type=Path), help="Where to write (some 4 GB).")
def main(names: tuple[str, ...], sizes: tuple[int, ...], scratch: Path | None) -> None:
    """Measure how commands grow."""
    machine = capture(anonymise=True, with_bandwidth=False)
    click.echo(
        f"{date.today().isoformat()}, {machine.cpu_model}, {machine.cores_used} cores, {machine.platform} "
        f"{machine.machine}, Python {platform.python_version()}\n"
    )
    for case in CASES:
        if not names or case.name in names:
            click.echo(markdown(case, measure(case, sizes or case.sizes, scratch)) + "\n")


if __name__ == "__main__":
    main()
