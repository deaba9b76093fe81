"""What interleaving is worth: a true difference of 5 %, measured three ways, on a quiet machine and beside bursts.

By sample, by round, and as a plain script does it: all of A, then all of B. Each repetition is an experiment of its
own; ways and conditions take turns in a seeded order. Of each: half-width of the ratio's interval, verdict, seconds; of
all: how often the 5 % was found, and how far the ratio is from the quiet one of the same way.

    python benchmarks/noise.py --repetitions 40                # some ten hours
    python benchmarks/noise.py --repetitions 1 --rounds 2 --samples 4 --tokens 20 --burst 2
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

import click

HERE = Path(__file__).parent
os.environ["DECODEBENCH_PLUGIN"] = str(HERE / "slowed.py")

import decodebench  # noqa: E402 - the plugin's place is read as it is imported
from decodebench.collate.statistics.intervals import Interval, t_interval, welch_interval  # noqa: E402
from decodebench.collate.statistics.verdicts import verdict_of  # noqa: E402

WAYS = ("samples", "rounds", "plain")
CONDITIONS = ("quiet", "bursts")
PRODUCTS = (40, 42)
METRIC = "decode_tokens_per_s"


@dataclass(frozen=True)
class Outcome:
    """One experiment: log of the ratio of the slower cell to the other, and the half-width of its interval."""

    way: str
    condition: str
    log_ratio: float
    half_width: float | None
    verdict: str
    seconds: float


@dataclass(frozen=True)
class Size:
    rounds: int
    samples: int
    tokens: int


@contextmanager
def disturbed(condition: str, burst_s: float, seed: int) -> Iterator[None]:
    if condition == "quiet":
        yield
        return
    command = [sys.executable, str(HERE / "bursts.py"), "--mean", str(burst_s), "--seed", str(seed)]
    load = subprocess.Popen(command, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(load.pid, 9)
        load.wait()


def plan(size: Size, products: Sequence[int], way: str) -> dict:
    workload = {"model": "tiny:draft", "task": "tiny-gsm", "samples": size.samples, "max_new_tokens": size.tokens}
    cells = [{"backend": "slowed", "options": {"products": list(products)}}]
    interleave = {} if way == "plain" else {"interleave": way}
    return {"rounds": size.rounds, "workload": workload | {"ignore_eos": True}, "cells": cells, **interleave}


def speeds(size: Size, products: int, folder: Path) -> list[float]:
    """Return the log of each round's speed, of one cell alone."""
    experiment = decodebench.run(plan(size, [products], "plain"), output=folder)
    with experiment.open() as results:
        return [math.log(row[0]) for row in results.query(f"SELECT {METRIC} FROM run_metrics WHERE status = 'ok'").rows]


def measured(size: Size, way: str, folder: Path) -> Interval:
    if way == "plain":
        first, second = (speeds(size, products, folder / str(products)) for products in PRODUCTS)
        return welch_interval(second, first)
    comparison = decodebench.run(plan(size, PRODUCTS, way), output=folder).comparison
    row = comparison.rows[1].ratio
    return Interval(*(None if x is None else math.log(x) for x in (row.value, row.low, row.high)), row.n)


def one(size: Size, way: str, condition: str, burst_s: float, seed: int) -> Outcome:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, disturbed(condition, burst_s, seed):
        found = measured(size, way, Path(folder))
    half = None if found.low is None or found.high is None else (found.high - found.low) / 2
    return Outcome(way, condition, found.value, half, verdict_of(found.exp(), 0.02), time.monotonic() - start)


def summary(outcomes: Sequence[Outcome]) -> list[dict]:
    quiet = {way: mean(o.log_ratio for o in outcomes if (o.way, o.condition) == (way, "quiet")) for way in WAYS}
    rows = []
    for condition in CONDITIONS:
        for way in WAYS:
            own = [o for o in outcomes if (o.way, o.condition) == (way, condition)]
            ratio = t_interval([o.log_ratio for o in own])
            rows.append(
                {
                    "condition": condition,
                    "way": way,
                    "experiments": len(own),
                    "median_half_width": median(o.half_width if o.half_width is not None else math.inf for o in own),
                    "found": sum(o.verdict == "slower" for o in own) / len(own),
                    "ratio": math.exp(ratio.value),
                    "ratio_low": None if ratio.low is None else math.exp(ratio.low),
                    "ratio_high": None if ratio.high is None else math.exp(ratio.high),
                    "bias_against_quiet": math.expm1(ratio.value - quiet[way]),
                    "bias_against_quiet_by_round": math.expm1(ratio.value - quiet["rounds"]),
                    "seconds": mean(o.seconds for o in own),
                }
            )
    return rows


@click.command()
@click.option("--repetitions", type=click.IntRange(1), default=40)
@click.option("--rounds", type=click.IntRange(2), default=5)
@click.option("--samples", type=click.IntRange(1), default=16)
@click.option("--tokens", type=click.IntRange(2), default=64)
@click.option(
    "--burst", "burst_s", type=click.FloatRange(0, min_open=True), default=20.0, help="Mean seconds of a phase."
)
@click.option("--seed", type=int, default=0)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write every outcome to a file.")
def main(repetitions, rounds, samples, tokens, burst_s, seed, target):  # noqa: ANN001, ANN201
    """Compare the three ways."""
    size, outcomes = Size(rounds, samples, tokens), []
    todo = [(way, condition, at) for way in WAYS for condition in CONDITIONS for at in range(repetitions)]
    random.Random(seed).shuffle(todo)
    for number, (way, condition, at) in enumerate(todo, start=1):
        outcomes.append(one(size, way, condition, burst_s, seed + at))
        click.echo(f"[{number}/{len(todo)}] {outcomes[-1]}", err=True)
        if target:
            target.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    click.echo(f"true ratio {PRODUCTS[0] / PRODUCTS[1]:.4f}; {size}")
    for row in summary(outcomes):
        click.echo(json.dumps({key: round(x, 4) if isinstance(x, float) else x for key, x in row.items()}))


if __name__ == "__main__":
    main()
