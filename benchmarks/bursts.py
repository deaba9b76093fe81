"""A process that takes all cores in bursts: on and off for exponential times, seeded, until it is ended."""

from __future__ import annotations

import multiprocessing
import random
import time

import click

from decodebench.core.measure.machine.cpu_load import usable_cpus


def spin(until: float) -> None:
    value = 1.0
    while time.monotonic() < until:
        for _ in range(10_000):
            value = value * 1.0000001 + 1e-9


@click.command()
@click.option("--mean", "mean_s", type=click.FloatRange(0, min_open=True), default=20.0, help="Seconds of a phase.")
@click.option("--seed", type=int, default=0)
def main(mean_s: float, seed: int) -> None:
    """Take every core for a while, leave them alone for a while, and so on."""
    chooser = random.Random(seed)
    with multiprocessing.Pool(len(usable_cpus())) as pool:
        is_on = chooser.random() < 0.5
        while True:
            if not is_on:
                time.sleep(chooser.expovariate(1 / mean_s))
            is_on = False
            end = time.monotonic() + chooser.expovariate(1 / mean_s)
            pool.map(spin, [end] * len(usable_cpus()))


if __name__ == "__main__":
    main()
