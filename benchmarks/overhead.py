"""What measuring through decodebench costs: each plugin against the engine's own way, interleaved, in one run.

``llama-cpp`` stands against llama-bench: N evaluations of one token from an empty cache (``-p 0 -n N``); ours gets a
prompt of one token and commits N, which is the same N evaluations, sampling included. ``transformers`` stands against
``model.generate``: float32, greedy, the rate of the N - 1 tokens after the first. Every figure comes from a process of
its own; the ratio's 95 % t interval is over rounds.
"""

from __future__ import annotations

import json
import math
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
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
_GOALS = {("llama-cpp", "random:qwen3-30m"): 0.97, ("llama-cpp", "tiny:target"): 0.90}

Measure = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """One plugin and the engine's own tool on one model."""

    backend: str
    other: str
    model: str
    ours: Measure
    theirs: Measure


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
    """Return the plugin's tokens/s in one worker process; with a one-token prompt all N tokens count."""
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
    made = []
    load = {"tokens": tokens, "repetitions": repetitions}
    for name in names:
        model = resolve(name, all_plugins().models, ModelCache())
        gguf = {"n_threads": threads, "flash_attention": "off", "n_ctx": tokens}  # as llama-bench sizes its cache
        weights = prepared("llama-cpp", model, gguf, "f16").path
        made.append(
            Pair(
                "llama-cpp",
                "llama-bench",
                name,
                lambda m=model, o=gguf: plugin_rate("llama-cpp", m, o, "f16", prompt=1, **load),
                lambda w=weights: llama_bench.tokens_per_s(w, threads=threads, **load),
            )
        )
        made.append(
            Pair(
                "transformers",
                "model.generate",
                name,
                lambda m=model: plugin_rate(
                    "transformers", m, {"n_threads": threads}, "none", prompt=_PROMPT_TOKENS, **load
                ),
                lambda m=model: generate_rate(m, tokens, repetitions, threads),
            )
        )
    return made


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
            _GOALS.get((pair.backend, pair.model), 1.0),
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
    chosen = " ".join(f"--model {name}" for name in models)
    sizes = f"--rounds {rounds} --tokens {tokens} --repetitions {repetitions} --threads {threads}"
    click.echo(markdown(outcomes, f"python benchmarks/overhead.py {chosen} {sizes}"))


if __name__ == "__main__":
    main()
