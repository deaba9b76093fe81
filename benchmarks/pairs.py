"""Whether taking turns changes what is measured: each pair of backends by sample and by round, on a quiet machine.

Two backends in memory together, one stopped while the other measures, against one process at a time: the ratio of their
speeds must be the same. Of each pair: both ratios, and by how much the one by sample is off, with its 95 % interval.

    python benchmarks/pairs.py --rounds 5
    python benchmarks/pairs.py -b llama-cpp -b transformers --rounds 2 --samples 2 --tokens 16
"""

from __future__ import annotations

import math
import tempfile
from itertools import combinations
from pathlib import Path

import click

import decodebench
from decodebench.collate.statistics.intervals import Interval
from decodebench.core.host.availability import availability
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.sdk.models import example_model


def ratio(pair: tuple[str, str], models: dict[str, str], how: dict, folder: Path) -> Interval:
    """Return the log of the second backend's speed over the first's."""
    workload = {"task": "tiny-gsm", "samples": how["samples"], "max_new_tokens": how["tokens"], "ignore_eos": True}
    cells = [{"backend": name, "model": models[name]} for name in pair]
    plan = {"rounds": how["rounds"], "interleave": how["kind"], "workload": workload, "cells": cells}
    row = decodebench.run(plan, output=folder).comparison.rows[1].ratio
    return Interval(*(None if x is None else math.log(x) for x in (row.value, row.low, row.high)), row.n)


def _percent(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):+.2%}"


@click.command()
@click.option("-b", "--backend", "chosen", multiple=True, help="Backends; all that can run here by default.")
@click.option("--rounds", type=click.IntRange(2), default=5)
@click.option("--samples", type=click.IntRange(1), default=8)
@click.option("--tokens", type=click.IntRange(2), default=64)
def main(chosen, rounds, samples, tokens):  # noqa: ANN001, ANN201
    """Measure each pair both ways."""
    registry = all_plugins()
    names = chosen or [name for name, backend in registry.backends.items() if availability(backend).available]
    models = {name: example_model(name, registry.models) for name in names}
    for pair in combinations(names, 2):
        found = {}
        for kind in ("rounds", "samples"):
            how = {"rounds": rounds, "samples": samples, "tokens": tokens, "kind": kind}
            with tempfile.TemporaryDirectory() as folder:
                found[kind] = ratio(pair, models, how, Path(folder))
        off = found["samples"].value - found["rounds"].value
        half = math.hypot(*((one.high - one.low) / 2 for one in found.values()))
        told = "  ".join(f"{kind} {math.exp(one.value):.4f}" for kind, one in found.items())
        span = f"[{_percent(off - half)}, {_percent(off + half)}]"
        click.echo(f"{' / '.join(reversed(pair))}: {told}  off by {_percent(off)} {span}")


if __name__ == "__main__":
    main()
