"""Fast-dLLM measured: what a threshold buys over one token per step, and both against an autoregressive engine.

Everything is measured by decodebench itself: rounds in processes of their own, interleaved. Two groups:

* tiny: ``tiny:block-diffusion`` on held-out problems, beside ``transformers`` on ``tiny:target``, of which it was made;
* 100m: ``random:fast-dllm-v2-100m`` on prompts of a fixed length, beside ``transformers`` on ``random:qwen2-100m``, the
  same network without diffusion. Untrained weights are sure of nothing, so that a threshold of 0.9 commits one token
  per step; ``factor`` forces several, which shows what a step costs.

A rate is all output tokens divided by the whole time, prefill included. ``--profile`` prints where the time of a
decoding goes, by operator.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click

from decodebench import ModelCache, Request
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.models import resolve

METRIC = "e2e_tokens_per_s"
GROUPS = {
    "tiny": {
        "baseline": "tiny:target",
        "model": "tiny:block-diffusion",
        "cells": [
            {"threshold": 1.0},
            {"threshold": 0.9},
            {"threshold": 0.9, "cache": "sub-block"},
            {"threshold": 0.7},
            {"threshold": 0.5},
        ],
    },
    "100m": {
        "baseline": "random:qwen2-100m",
        "model": "random:fast-dllm-v2-100m",
        "cells": [
            {"threshold": 1.0},
            {"threshold": 0.9},
            {"factor": 4.0},
            {"factor": 9.0},
            {"factor": 9.0, "cache": "sub-block"},
        ],
    },
}


@dataclass
class Row:
    """One cell: its rate, its ratios to one token per step and to the baseline engine, and tokens per forward."""

    group: str
    cell: str
    tokens_per_s: float
    against_one: float | None
    against_one_low: float | None
    against_one_high: float | None
    against_baseline: float | None
    against_baseline_low: float | None
    against_baseline_high: float | None
    tokens_per_forward: float | None
    accuracy: float | None
    rounds: int


def plan(group: str, rounds: int, threads: int, prompts: int, tokens: int) -> str:
    """Return the group's plan as TOML."""
    content = GROUPS[group]
    workload = ['task = "tiny-gsm"', f"samples = {prompts}", "max_new_tokens = 160"]
    if group != "tiny":
        workload = [f"samples = {prompts}", "prompt_tokens = 64", f"output_tokens = {tokens}", "ignore_eos = true"]
    lines = [f'name = "{group}"', f"rounds = {rounds}", "", "[workload]", *workload, "warmup = 2"]
    cells = [("transformers", content["baseline"], {})]
    cells += [("fast-dllm", content["model"], options) for options in content["cells"]]
    for backend, model, options in cells:
        told = ", ".join(f"{name} = {json.dumps(value)}" for name, value in {**options, "n_threads": threads}.items())
        lines += ["", "[[cells]]", f'backend = "{backend}"', f'model = "{model}"', f"options = {{ {told} }}"]
    return "\n".join(lines) + "\n"


def decodebench(*arguments: object) -> str:
    command = [sys.executable, "-m", "decodebench", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(group: str, folder: Path, rounds: int, threads: int, prompts: int, tokens: int) -> list[Row]:
    """Run a group and compare it twice: with one token per step and with the baseline engine."""
    file = folder / f"{group}.toml"
    file.write_text(plan(group, rounds, threads, prompts, tokens))
    decodebench("run", file, "-o", folder, "--json")
    common = ("compare", folder, "--experiment", group, "--metric", METRIC, "--json")
    by_baseline = json.loads(decodebench(*common))["rows"]
    one = next(row["cell"]["label"] for row in by_baseline if row["cell"]["options"].get("threshold") == "1.0")
    by_one = {row["cell"]["cell_id"]: row for row in json.loads(decodebench(*common, "--baseline", one))["rows"]}
    return [_row(group, row, by_one[row["cell"]["cell_id"]]) for row in by_baseline]


def _row(group: str, row: dict, other: dict) -> Row:
    ratio, against_one = row["ratio"], other["ratio"]
    is_diffusion = row["cell"]["backend"] == "fast-dllm"
    accuracy = row["accuracy"]["value"]["value"] if row["accuracy"] else None
    return Row(
        group=group,
        cell=row["cell"]["label"],
        tokens_per_s=row["metrics"][METRIC]["value"],
        against_one=against_one["value"] if is_diffusion else None,
        against_one_low=against_one["low"] if is_diffusion else None,
        against_one_high=against_one["high"] if is_diffusion else None,
        against_baseline=ratio["value"],
        against_baseline_low=ratio["low"],
        against_baseline_high=ratio["high"],
        tokens_per_forward=row["metrics"].get("tokens_per_forward", {}).get("value") if is_diffusion else None,
        accuracy=accuracy,
        rounds=row["rounds"],
    )


def profile(model: str, threads: int, tokens: int) -> list[tuple[str, float]]:
    """Return the share of each operator's own time in one decoding, the largest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    from decodebench.plugins.fast_dllm.backend import FastDllmBackend
    from decodebench.plugins.fast_dllm.options import FastDllmOptions

    found = resolve(model, all_plugins().models, ModelCache())
    options = FastDllmOptions(n_threads=threads, factor=4.0)
    backend = FastDllmBackend()
    backend.load(FastDllmBackend.prepare(found, "none", "cpu", options, ModelCache()), "cpu", options)
    request = Request(tuple(range(5, 69)), tokens)
    list(backend.generate([request]))
    with profiled(activities=[ProfilerActivity.CPU]) as record:
        list(backend.generate([request]))
    entries = sorted(record.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    total = sum(entry.self_cpu_time_total for entry in entries)
    return [(entry.key, entry.self_cpu_time_total / total) for entry in entries[:8]]


def markdown(rows: list[Row]) -> str:
    """Return the rows as a table."""

    def ratio(value: float | None, low: float | None, high: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None else "")

    lines = [
        "| cell | tokens/s | against one token per step | against transformers | tokens per forward | accuracy | n |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        one = ratio(r.against_one, r.against_one_low, r.against_one_high)
        base = ratio(r.against_baseline, r.against_baseline_low, r.against_baseline_high)
        forward = "-" if r.tokens_per_forward is None else f"{r.tokens_per_forward:.2f}"
        right = "-" if r.accuracy is None else f"{100 * r.accuracy:.1f} %"
        lines.append(f"| {r.cell} | {r.tokens_per_s:.0f} | {one} | {base} | {forward} | {right} | {r.rounds} |")
    return "\n".join(lines)


@click.command()
@click.option("--group", "groups", multiple=True, type=click.Choice(list(GROUPS)), help="Default: both.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--prompts", default=64, show_default=True, help="Problems of the tiny group.")
@click.option("--large-prompts", default=3, show_default=True, help="Prompts of the 100m group.")
@click.option("--tokens", default=96, show_default=True, help="Tokens per prompt of the 100m group.")
@click.option("--profile", "with_profile", is_flag=True, help="Print the operators' shares of a decoding instead.")
@click.option("--json", "as_json", is_flag=True)
def main(
    groups: tuple[str, ...],
    rounds: int,
    threads: int,
    prompts: int,
    large_prompts: int,
    tokens: int,
    with_profile: bool,
    as_json: bool,
) -> None:
    """Measure thresholds of Fast-dLLM against one token per step and against transformers."""
    if with_profile:
        for name, share in profile("random:fast-dllm-v2-100m", threads, tokens):
            click.echo(f"{100 * share:5.1f} %  {name}")
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for group in groups or GROUPS:
            count = prompts if group == "tiny" else large_prompts
            rows += measure(group, Path(folder), rounds, threads, count, tokens)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    machine = capture(anonymise=True)
    click.echo(f"{date.today()}, {machine.cpu_model}, {threads} threads, {rounds} rounds\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
