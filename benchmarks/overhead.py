"""What measuring through decodebench costs: each plugin against the engine's own way, interleaved, in one run.

``llama-cpp`` stands against llama-bench: N evaluations of one token from an empty cache (``-p 0 -n N``); ours gets a
prompt of one token and commits N, which is the same N evaluations, sampling included. A GGUF file runs in its own
format, and its prefill of 512 tokens is compared as well. ``transformers`` stands against ``model.generate``: float32,
greedy, the rate of the N - 1 tokens after the first. With ``--against FOLDER`` each plugin stands against another
revision's as well, measured by that revision's code in its own environment. Every figure comes from a process of its
own; the ratio's 95 % t interval is over rounds.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click
import llama_bench
from other_revision import Revision

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
_GOALS = {("llama-bench", "tiny:target"): 0.90, "llama-bench": 0.97, "llama-bench, prefill": 0.97}

Measure = Callable[[], float]
Side = tuple[str, Measure, dict[str, object]]
"""The name and the rate of an engine's own tool, and what ``plugin_rate`` is called with for the same work."""


@dataclass(frozen=True)
class Subject:
    """One plugin on one model, and by name what it is compared with."""

    backend: str
    model: str
    ours: Measure
    others: dict[str, Measure]


@dataclass(frozen=True)
class Outcome:
    """What two sides came to: rates in tokens/s, geometric means over rounds, and each round's own as measured."""

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

    With a one-token prompt all N tokens count; of a generation of one token it is the prompt's rate. Another revision's
    function of this name is called with the same arguments: see ``other_revision.py``.
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


def subjects(
    backends: Sequence[str],
    models: Sequence[str],
    sizes: dict[str, int],
    revision: Revision | None,
    *,
    without_engines: bool = False,
) -> list[Subject]:
    """Build the comparisons of every backend on every model; ``sizes`` are tokens, repetitions and threads."""
    made = []
    for backend, name in itertools.product(backends, models):
        model = resolve(name, all_plugins().models, ModelCache())
        for other, theirs, call in SIDES[backend](model, **sizes):
            others = {} if without_engines else {other: theirs}
            if revision is not None:
                others[revision.name] = functools.partial(revision.plugin_rate, name, backend=backend, **call)
            made.append(Subject(backend, name, functools.partial(plugin_rate, backend, model, **call), others))
    return made


def beside_llama_bench(model: ResolvedModel, tokens: int, repetitions: int, threads: int) -> Iterator[Side]:
    """Yield llama-bench as the other side of ``llama-cpp``: decoding, and of a GGUF file prefill."""
    quantisation = model.stored_format or "f16"
    common = {"n_threads": threads, "flash_attention": "off"}
    weights = prepared("llama-cpp", model, common, quantisation).path
    loads = {"llama-bench": (1, tokens)}
    if model.stored_format:
        loads["llama-bench, prefill"] = (_PREFILL_TOKENS, 1)
    for other, (prompt, count) in loads.items():
        options = {**common, "n_ctx": prompt + count}  # llama.cpp rounds it up, as of llama-bench
        test = {"prompt": 0 if prompt == 1 else prompt, "tokens": 0 if count == 1 else count}
        theirs = functools.partial(llama_bench.tokens_per_s, weights, threads=threads, repetitions=repetitions, **test)
        load = {"prompt": prompt, "tokens": count, "repetitions": repetitions}
        yield other, theirs, {"options": options, "quantisation": quantisation, **load}


def beside_generate(model: ResolvedModel, tokens: int, repetitions: int, threads: int) -> Iterator[Side]:
    """Yield ``model.generate`` as the other side of ``transformers``; a GGUF file has none."""
    if model.container == "gguf":
        return
    load = {"prompt": _PROMPT_TOKENS, "tokens": tokens, "repetitions": repetitions}
    call = {"options": {"n_threads": threads}, "quantisation": "none", **load}
    yield "model.generate", functools.partial(generate_rate, model, tokens, repetitions, threads), call


SIDES: dict[str, Callable[..., Iterator[Side]]] = {"llama-cpp": beside_llama_bench, "transformers": beside_generate}


def compare(made: Sequence[Subject], rounds: int) -> list[Outcome]:
    """Measure every side of every subject once a round, in an order shuffled anew each round."""
    sides = {(at, "plugin"): subject.ours for at, subject in enumerate(made)}
    sides |= {(at, name): measure for at, subject in enumerate(made) for name, measure in subject.others.items()}
    rates: dict[tuple[int, str], list[float]] = {side: [] for side in sides}
    for index in range(rounds):
        turns = list(sides)
        random.Random(index).shuffle(turns)
        for at, name in turns:
            rates[at, name].append(sides[at, name]())
            said = f"{made[at].backend} {made[at].model} {name}: {rates[at, name][-1]:.0f} tokens/s"
            print(f"round {index + 1}: {said}", file=sys.stderr)
    return [
        outcome(
            (subject.backend, name, Path(subject.model).name),
            rates[at, "plugin"],
            rates[at, name],
            _GOALS.get((name, subject.model)) or _GOALS.get(name, 1.0),
        )
        for at, subject in enumerate(made)
        for name in subject.others
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
@click.option(
    "--backend", "backends", multiple=True, default=tuple(SIDES), type=click.Choice(tuple(SIDES)), show_default=True
)
@click.option("--model", "models", multiple=True, default=("random:qwen3-30m", "tiny:target"), show_default=True)
@click.option("--rounds", type=click.IntRange(2), default=10, show_default=True)
@click.option("--tokens", type=click.IntRange(2), default=128, show_default=True, help="Tokens per generation.")
@click.option("--repetitions", type=click.IntRange(1), default=5, show_default=True, help="Generations per process.")
@click.option("--threads", type=click.IntRange(1), default=cores(), show_default=True)
@click.option("--against", type=click.Path(path_type=Path), help="A checkout of another revision, with its .venv.")
@click.option("--without-engines", is_flag=True, help="Only --against: neither llama-bench nor model.generate.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write every rate there, too.")
def main(
    backends: tuple[str, ...],
    models: tuple[str, ...],
    rounds: int,
    against: Path | None,
    without_engines: bool,
    file: Path | None,
    **sizes: int,
) -> None:
    """Compare each plugin with its engine's own way of measuring, and with another revision's plugin."""
    try:
        revision = None if against is None else Revision.at(against)
        if "llama-cpp" in backends and not without_engines:
            llama_bench.binaries()  # built now, not in the first round
        made = subjects(backends, models, sizes, revision, without_engines=without_engines)
        outcomes = compare(made, rounds)
    except DecodebenchError as error:
        raise click.ClickException(str(error)) from error
    if file is not None:
        file.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    chosen = [f"--backend {name}" for name in backends] + [f"--model {Path(name).name}" for name in models]
    chosen += [f"--rounds {rounds}", *(f"--{name} {value}" for name, value in sizes.items())]
    chosen += ["--without-engines"] if without_engines else []
    chosen += [] if revision is None else [f"--against {revision.name}"]
    click.echo(markdown(outcomes, f"python benchmarks/overhead.py {' '.join(chosen)}"))


if __name__ == "__main__":
    main()
