"""Compiled engines against what their users would run instead, interleaved in one run with the same threads.

``tinygrad`` stands against ``python -m tinygrad.llm --benchmark`` on the same GGUF file and the same context: one token
after another from an empty cache; its first steps, which capture and compile, are left out on both sides. ``mlc`` (TVM
with our CPU schedule) stands against the ``transformers`` backend in float32: decode and prefill of random prompts.
``mlx`` stands against ``mlx_lm.benchmark`` on the same folder, which is stored in float32.
Every figure comes from a process of its own; the ratio's 95 % t interval is over rounds.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
from overhead import markdown, outcome, prepared

from decodebench import DecodebenchError, ModelCache, UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.job import MeasureJob, PromptJob
from decodebench.core.measure.rounds.conversation import run_worker
from decodebench.core.records.workload import Workload
from decodebench.core.sdk.cores import cores
from decodebench.core.sdk.models import resolve

_TIMEOUT_S = 900.0
_WARM_UP_STEPS = 4  # of tinygrad's own tool: the first calls capture and compile
_RATE = re.compile(r"([\d.]+) ms,\s+([\d.]+) tok/s")
_MLX_RATES = re.compile(r"Averages: prompt_tps=([\d.]+), generation_tps=([\d.]+)")

Rates = dict[str, float]
"""Tokens/s by phase: ``prefill`` and ``decode``."""


def plugin_rates(backend: str, name: str, quantisation: str, options: dict, load: dict[str, int]) -> Rates:
    """Return the plugin's rates in one worker process; prompts are random, the first one warms up."""
    prompts = [
        PromptJob(sample_id=str(i), is_warmup=i == 0, random_tokens=load["prompt"], random_seed=str(i))
        for i in range(load["repetitions"] + 1)
    ]
    job = MeasureJob(
        plugin=backend,
        backend=backend,
        options=options,
        n_threads=options.get("n_threads"),
        quantisation=quantisation,
        prepared=prepared(backend, resolve(name, all_plugins().models, ModelCache()), options, quantisation),
        prompts=tuple(prompts),
        workload=Workload(max_new_tokens=load["tokens"], ignore_eos=True),
    )
    lines: list[dict] = []
    ended = run_worker(job, engine_text=None, timeout_s=_TIMEOUT_S, on_line=lines.append)
    if ended.status != "ok":
        raise UsageError(f"{backend}: {ended.reason}")
    steps = [line for line in lines if line["type"] == "step" and line["sample"] > 0]
    first = [line["step_s"] for line in steps if line["index"] == 0]
    later = [line["step_s"] for line in steps if line["index"] > 0]
    return {"prefill": load["prompt"] * len(first) / sum(first), "decode": len(later) / sum(later)}


def tinygrad_tool_rates(name: str, quantisation: str, context: int, tokens: int, threads: int) -> Rates:
    """Return the decode rate that ``python -m tinygrad.llm --benchmark`` prints, compiled steps only."""
    model = resolve(name, all_plugins().models, ModelCache())
    options = {"n_threads": threads, "n_ctx": context}
    path = prepared("tinygrad", model, options, quantisation).path
    command = [sys.executable, "-m", "tinygrad.llm", "--model", str(path), "--max_context", str(context)]
    command += ["--benchmark", str(tokens + _WARM_UP_STEPS)]
    environment = {**os.environ, "CPU_COUNT": str(threads)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S, check=False)
    times = [float(found.group(1)) for found in map(_RATE.search, ended.stdout.splitlines()) if found]
    if ended.returncode != 0 or len(times) <= _WARM_UP_STEPS:
        raise UsageError(f"tinygrad.llm failed: {ended.stderr[-500:] or ended.stdout[-500:]}")
    steady = times[_WARM_UP_STEPS:]
    return {"decode": 1e3 * len(steady) / sum(steady)}


def mlx_tool_rates(name: str, load: dict[str, int]) -> Rates:
    """Return the rates that ``python -m mlx_lm.benchmark`` prints."""
    folder = resolve(name, all_plugins().models, ModelCache()).path
    command = [sys.executable, "-m", "mlx_lm.benchmark", "--model", str(folder), "-p", str(load["prompt"])]
    command += ["-g", str(load["tokens"]), "-n", str(load["repetitions"])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    found = _MLX_RATES.search(ended.stdout)
    if ended.returncode != 0 or found is None:
        raise UsageError(f"mlx_lm.benchmark failed: {ended.stderr[-500:] or ended.stdout[-500:]}")
    return {"prefill": float(found[1]), "decode": float(found[2])}


@click.command()
@click.option("--model", default="random:qwen3-100m", show_default=True, help="For mlc and mlx.")
@click.option("--tinygrad-model", default="random:qwen3-30m", show_default=True)
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--tokens", type=click.IntRange(8), default=64, show_default=True, help="Tokens per generation.")
@click.option("--prompt", type=click.IntRange(1), default=128, show_default=True, help="Prompt tokens for mlc and mlx.")
@click.option("--repetitions", type=click.IntRange(1), default=3, show_default=True, help="Generations per process.")
@click.option("--threads", type=click.IntRange(1), default=cores(), show_default=True)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write every rate there, too.")
def main(
    model: str,
    tinygrad_model: str,
    rounds: int,
    tokens: int,
    prompt: int,
    repetitions: int,
    threads: int,
    file: Path | None,
) -> None:
    """Compare tinygrad and mlx with their own tools, and mlc with transformers."""
    load = {"tokens": tokens, "prompt": prompt, "repetitions": repetitions}
    one = {**load, "prompt": 1}
    context = 128 if tokens + _WARM_UP_STEPS < 128 else tokens + _WARM_UP_STEPS
    threaded = {"n_threads": threads}
    sides: dict[str, Callable[[], Rates]] = {
        "tinygrad f32": lambda: plugin_rates("tinygrad", tinygrad_model, "f32", {**threaded, "n_ctx": context}, one),
        "tinygrad.llm f32": lambda: tinygrad_tool_rates(tinygrad_model, "f32", context, tokens, threads),
        "transformers float32": lambda: plugin_rates("transformers", model, "none", threaded, load),
        "mlc q0f32": lambda: plugin_rates("mlc", model, "q0f32", threaded, load),
        "mlc q4f16_1": lambda: plugin_rates("mlc", model, "q4f16_1", threaded, load),
        "mlx none": lambda: plugin_rates("mlx", model, "none", {}, load),
        "mlx_lm.benchmark": lambda: mlx_tool_rates(model, load),
    }
    pairs = [
        ("tinygrad f32", "tinygrad.llm f32", "decode", tinygrad_model, 0.97),
        ("mlc q0f32", "transformers float32", "decode", model, 1.0),
        ("mlc q4f16_1", "transformers float32", "decode", model, 1.8),
        ("mlc q0f32", "transformers float32", "prefill", model, 1.0),
        ("mlc q4f16_1", "transformers float32", "prefill", model, 1.0),
        ("mlx none", "mlx_lm.benchmark", "decode", model, 0.97),
        ("mlx none", "mlx_lm.benchmark", "prefill", model, 0.97),
    ]
    measured: dict[str, list[Rates]] = {name: [] for name in sides}
    try:
        for index in range(rounds):
            turns = list(sides)
            random.Random(index).shuffle(turns)
            for name in turns:
                measured[name].append(sides[name]())
                said = ", ".join(f"{phase} {rate:.0f} tokens/s" for phase, rate in measured[name][-1].items())
                print(f"round {index + 1}: {name}: {said}", file=sys.stderr)
    except DecodebenchError as error:
        raise click.ClickException(str(error)) from error
    outcomes = [
        outcome(
            (f"{ours}, {phase}", theirs, name),
            [rates[phase] for rates in measured[ours]],
            [rates[phase] for rates in measured[theirs]],
            goal,
        )
        for ours, theirs, phase, name, goal in pairs
    ]
    if file is not None:
        file.write_text(json.dumps([asdict(found) for found in outcomes], indent=2) + "\n")
    sizes = f"--rounds {rounds} --tokens {tokens} --prompt {prompt} --repetitions {repetitions} --threads {threads}"
    click.echo(markdown(outcomes, f"python benchmarks/engines.py {sizes}"))


if __name__ == "__main__":
    main()
