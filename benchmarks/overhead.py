"""What measuring through decodebench costs: each plugin against the engine's own way, interleaved, in one run.

``llama-cpp`` stands against llama-bench: N evaluations of one token from an empty cache (``-p 0 -n N``); ours gets a
prompt of one token and commits N, which is the same N evaluations, sampling included. A GGUF file runs in its own
format, and its prefill of 512 tokens is compared as well. ``transformers`` stands against ``model.generate``: float32,
greedy, the rate of the N - 1 tokens after the first. Every figure comes from a process of its own; the ratio's 95 % t
interval is over rounds.
"""

from __future__ import annotations

import json
import math
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path

import click
import llama_bench

from decodebench import DecodebenchError, ModelCache, UsageError
from decodebench.collate.statistics.intervals import t_interval
from decodebench.core.contract.model import ResolvedModel
from decodebench.core.host.packed_models import ModelJob, PreparedJob
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.isolation.processes.messages import Prepared
from decodebench.core.measure.job import MeasureJob, PrepareJob, PromptJob
from decodebench.core.measure.launcher import request
from decodebench.core.measure.machine.environment import capture
from decodebench.core.measure.rounds.conversation import run_worker
from decodebench.core.records.workload import Workload
from decodebench.core.sdk.cores import cores
from decodebench.core.sdk.models import resolve

_TIMEOUT_S = 900.0
_PROMPT_TOKENS = 16
_PREFILL_TOKENS = 512  # llama-bench's own default
_LLAMA_CPP_GOAL, _TINY_GOAL = 0.97, 0.90

Measure = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """One plugin and the engine's own tool on one model."""

    backend: str
    other: str
    model: str
    ours: Measure
    theirs: Measure
    goal: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a pair came to: rates in tokens/s, geometric means over rounds, and each round's own as measured."""

    backend: str
    other: str
    model: str
    rounds: int
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    goal: float
    rounds_ours: tuple[float, ...]
    rounds_theirs: tuple[float, ...]


def plugin_rate(backend: str, model: ResolvedModel, options: dict, quantisation: str, **load: int) -> float:
    """Return the plugin's tokens/s in one worker process.

    With a one-token prompt all N tokens count; of a generation of one token it is the prompt's rate.
    """
    steps: list[dict] = []
    prompts = [
        PromptJob(sample_id=str(i), is_warmup=i == 0, random_tokens=load["prompt"], random_seed=str(i))
        for i in range(load["repetitions"] + 1)
    ]
    common = {"plugin": backend, "backend": backend, "options": options, "quantisation": quantisation}
    job = MeasureJob(
        n_threads=options.get("n_threads"),
        prepared=prepared(backend, model, options, quantisation),
        prompts=tuple(prompts),
        workload=Workload(max_new_tokens=load["tokens"], ignore_eos=True),
        **common,
    )
    outcome = run_worker(job, engine_text=None, timeout_s=_TIMEOUT_S, on_line=steps.append)
    if outcome.status != "ok":
        raise UsageError(f"{backend}: {outcome.reason}")
    measured = [line for line in steps if line["type"] == "step" and line["sample"] > 0]
    if load["tokens"] == 1:
        return load["prompt"] * len(measured) / sum(line["step_s"] for line in measured)
    if load["prompt"] > 1:
        measured = [line for line in measured if line["index"] > 0]
    return len(measured) / sum(line["step_s"] for line in measured)


def prepared(backend: str, model: ResolvedModel, options: dict, quantisation: str) -> PreparedJob:
    """Convert the model, or find it in the cache."""
    job = PrepareJob(
        plugin=backend,
        backend=backend,
        options=options,
        quantisation=quantisation,
        model=ModelJob.of(model),
        cache_root=ModelCache().root,
    )
    return request(job, Prepared, _TIMEOUT_S).model


def generate_rate(model: ResolvedModel, tokens: int, repetitions: int, threads: int) -> float:
    """Return the tokens/s of ``model.generate`` in a process of its own."""
    script = Path(__file__).with_name("generate_loop.py")
    arguments = [str(model.path), *map(str, (_PROMPT_TOKENS, tokens, repetitions, threads))]
    ended = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise UsageError(f"model.generate failed: {ended.stderr[-500:]}")
    return float(ended.stdout.splitlines()[-1])


def pairs(names: Sequence[str], tokens: int, repetitions: int, threads: int) -> list[Pair]:
    """Build the comparisons of both engines on every model."""
    made: list[Pair] = []
    for name in names:
        model = resolve(name, all_plugins().models, ModelCache())
        made += llama_cpp_pairs(model, tokens, repetitions, threads)
        if model.container != "gguf":
            made.append(transformers_pair(model, tokens, repetitions, threads))
    return made


def llama_cpp_pairs(model: ResolvedModel, tokens: int, repetitions: int, threads: int) -> Iterator[Pair]:
    """Yield decoding, and of a GGUF model prefill, against llama-bench; contexts are as large as it makes them."""
    quantisation = model.stored_format or "f16"
    common = {"n_threads": threads, "flash_attention": "off"}
    weights = prepared("llama-cpp", model, common, quantisation).path
    goal = _TINY_GOAL if model.name == "tiny:target" else _LLAMA_CPP_GOAL
    loads = {"llama-bench": (1, tokens)} | (
        {"llama-bench, prefill": (_PREFILL_TOKENS, 1)} if model.stored_format else {}
    )
    for other, (prompt, count) in loads.items():
        options = {**common, "n_ctx": max(prompt, count)}
        load = {"prompt": prompt, "tokens": count, "repetitions": repetitions}
        test = {"prompt": 0 if prompt == 1 else prompt, "tokens": 0 if count == 1 else count}
        yield Pair(
            "llama-cpp",
            other,
            Path(model.name).name,
            partial(plugin_rate, "llama-cpp", model, options, quantisation, **load),
            partial(llama_bench.tokens_per_s, weights, threads=threads, repetitions=repetitions, **test),
            goal,
        )


def transformers_pair(model: ResolvedModel, tokens: int, repetitions: int, threads: int) -> Pair:
    """Return decoding against ``model.generate``."""
    load = {"prompt": _PROMPT_TOKENS, "tokens": tokens, "repetitions": repetitions}
    return Pair(
        "transformers",
        "model.generate",
        model.name,
        partial(plugin_rate, "transformers", model, {"n_threads": threads}, "none", **load),
        partial(generate_rate, model, tokens, repetitions, threads),
    )


def compare(made: Sequence[Pair], rounds: int) -> list[Outcome]:
    """Measure every side of every pair once a round, in an order shuffled anew each round."""
    rates: dict[tuple[int, str], list[float]] = {}
    for index in range(rounds):
        turns = [(at, side) for at in range(len(made)) for side in ("ours", "theirs")]
        random.Random(index).shuffle(turns)
        for at, side in turns:
            rate = getattr(made[at], side)()
            rates.setdefault((at, side), []).append(rate)
            print(
                f"round {index + 1}: {made[at].backend} {made[at].model} {side}: {rate:.0f} tokens/s", file=sys.stderr
            )
    return [
        outcome(
            (pair.backend, pair.other, pair.model),
            rates[at, "ours"],
            rates[at, "theirs"],
            pair.goal,
        )
        for at, pair in enumerate(made)
    ]


def outcome(names: tuple[str, str, str], ours: list[float], theirs: list[float], goal: float) -> Outcome:
    """Compare two sides measured in the same rounds; names are plugin, other side and model."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    interval = t_interval(logs)
    mean = math.exp(sum(logs) / len(logs))
    low = mean if interval.low is None else math.exp(interval.low)
    high = mean if interval.high is None else math.exp(interval.high)
    middle = [math.exp(sum(map(math.log, side)) / len(side)) for side in (ours, theirs)]
    raw = tuple(ours), tuple(theirs)
    return Outcome(*names, len(ours), *middle, mean, low, high, goal, *raw)


def markdown(outcomes: Sequence[Outcome], command: str) -> str:
    """Return the table with command, machine and date."""
    machine = capture(anonymise=True, with_bandwidth=False)
    lines = [
        f"`{command}`, {date.today().isoformat()}, {machine.cpu_model}, {machine.cores_used} cores, {machine.platform} "
        f"{machine.machine}, Python {platform.python_version()}",
        "",
        "| plugin | against | model | plugin, tokens/s | other, tokens/s | ratio | 95 % interval | goal | reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for o in outcomes:
        reached = "yes" if o.high >= o.goal else "no"
        cells = (o.backend, o.other, o.model, f"{o.ours:.0f}", f"{o.theirs:.0f}", f"{o.ratio:.3f}")
        lines.append(f"| {' | '.join(cells)} | {o.low:.3f} to {o.high:.3f} | {o.goal:.2f} | {reached} |")
    return "\n".join(lines)


@click.command()
@click.option("--model", "models", multiple=True, default=("random:qwen3-30m", "tiny:target"), show_default=True)
@click.option("--rounds", type=click.IntRange(2), default=10, show_default=True)
@click.option("--tokens", type=click.IntRange(2), default=128, show_default=True, help="Tokens per generation.")
@click.option("--repetitions", type=click.IntRange(1), default=5, show_default=True, help="Generations per process.")
@click.option("--threads", type=click.IntRange(1), default=cores(), show_default=True)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write every rate there, too.")
def main(models: tuple[str, ...], rounds: int, tokens: int, repetitions: int, threads: int, file: Path | None) -> None:
    """Compare each plugin with its engine's own way of measuring."""
    try:
        llama_bench.binary()
        outcomes = compare(pairs(models, tokens, repetitions, threads), rounds)
    except DecodebenchError as error:
        raise click.ClickException(str(error)) from error
    if file is not None:
        file.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    chosen = " ".join(f"--model {Path(name).name}" for name in models)
    sizes = f"--rounds {rounds} --tokens {tokens} --repetitions {repetitions} --threads {threads}"
    click.echo(markdown(outcomes, f"python benchmarks/overhead.py {chosen} {sizes}"))


if __name__ == "__main__":
    main()
