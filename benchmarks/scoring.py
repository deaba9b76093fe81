"""What four choices cost beside one prefill of their prompt, and what scoring a long text needs in memory.

Without ``--model`` the model is untrained and has the vocabulary of a real one. Each backend runs in a process of its
own. Beside the clock's ratio stands that of the user CPU time of all threads, which other processes hardly change.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from decodebench import Backend, ModelCache, Request
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.models.containers import Models
from decodebench.core.measure.models.formats import default_format
from decodebench.plugins.reference.family import WEIGHTS_FOLDER

_SHAPE = dict(hidden_size=512, num_hidden_layers=8, intermediate_size=1536, num_attention_heads=8)
_SHAPE |= dict(num_key_value_heads=4, head_dim=64, max_position_embeddings=4096, tie_word_embeddings=True)


@click.command()
@click.option("-b", "--backend", "backends", multiple=True, help="NAME or NAME:QUANTISATION; default: all that score.")
@click.option("-m", "--model", help="Folder or file of a model; default: an untrained one.")
@click.option("--vocabulary", default=151_936, show_default=True, help="Ids of the untrained one.")
@click.option("--prompt", default=512, show_default=True, help="Tokens of the prompt.")
@click.option("--choices", default="1,4,8,12", show_default=True, help="Tokens of each choice.")
@click.option("--text", default=2048, show_default=True, help="Tokens of the text whose memory is watched.")
@click.option("--repetitions", default=5, show_default=True, help="Of prefill and choices, in turn.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Option of those backends that have it.")
@click.option("--one", hidden=True, help="Measure this backend on the folder, in this process.")
def main(
    backends: tuple[str, ...],
    model: str | None,
    vocabulary: int,
    prompt: int,
    choices: str,
    text: int,
    repetitions: int,
    settings: tuple[str, ...],
    one: str | None,
) -> None:
    """Print a row for each backend."""
    if one is not None and model is not None:
        lengths = [int(length) for length in choices.split(",")]
        backend, vocabulary = loaded(one, model, dict(setting.split("=", 1) for setting in settings))
        found = measured(backend, (prompt, text, *lengths), repetitions)
        print(json.dumps(found | {"vocabulary": vocabulary}))
        return
    registry = all_plugins()
    able = [name for name, kind in registry.backends.items() if "score" in kind.supports and kind.probe().available]
    click.echo("| backend | prefill ms | choices ms | ratio | by CPU time | text MB above loaded | logits of it MB |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as place:
        if model is None:
            save(Path(place), vocabulary)
        for name in backends or able:
            command = [sys.executable, __file__, "--one", name, "--model", model or place, "--prompt", str(prompt)]
            command += ["--text", str(text), "--choices", choices, "--repetitions", str(repetitions)]
            command += [word for setting in settings for word in ("--set", setting)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                click.echo(f"| {name} | {ended.stderr.strip().splitlines()[-1][:100]} |")
                continue
            found = json.loads(ended.stdout.splitlines()[-1])
            ratios = [found[f"choices_{clock}_s"] / found[f"prefill_{clock}_s"] for clock in ("wall", "cpu")]
            click.echo(
                f"| {name} | {found['prefill_wall_s'] * 1e3:.0f} | {found['choices_wall_s'] * 1e3:.0f} | "
                f"{ratios[0]:.2f} | {ratios[1]:.2f} | {found['text_bytes'] / 1e6:.0f} | "
                f"{text * found['vocabulary'] * 4 / 1e6:.0f} |"
            )


def save(folder: Path, vocabulary: int) -> None:
    """Write the model, with the tiny family's tokenizer."""
    import shutil

    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3Config(vocab_size=vocabulary, eos_token_id=2, pad_token_id=0, **_SHAPE)
    transformers.Qwen3ForCausalLM(config).to(torch.float16).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(WEIGHTS_FOLDER / "target" / file, folder / file)


def measured(backend: Backend, sizes: tuple[int, ...], repetitions: int) -> dict[str, float]:
    """Time prefill and choices in turn, the first of each left out; then score a text and look at the peak.

    Args:
        backend: with its model.
        sizes: tokens of the prompt, of the text and of each choice.
        repetitions: how often.
    """
    chooser = random.Random(1)
    prompt, text, *choices = ([chooser.randrange(1000) for _ in range(size)] for size in sizes)
    request = Request(tuple(prompt), 1, ignore_eos=True)
    times: dict[str, list[float]] = {}
    for _ in range(repetitions + 1):
        for phase, call in (
            ("prefill", lambda: list(backend.generate([request]))),
            ("choices", lambda: backend.score_continuations(prompt, choices)),
        ):
            wall, cpu = time.perf_counter(), os.times().user
            call()
            times.setdefault(f"{phase}_wall_s", []).append(time.perf_counter() - wall)
            times.setdefault(f"{phase}_cpu_s", []).append(os.times().user - cpu)
    before = peak_bytes()
    backend.score(text)
    found = {phase: statistics.median(values[1:]) for phase, values in times.items()}
    return found | {"text_bytes": peak_bytes() - before}


def loaded(name: str, place: str, settings: dict[str, str]) -> tuple[Backend, int]:
    """Load a model as ``run`` does, and return the number of its ids beside it."""
    registry, cache = all_plugins(), ModelCache()
    name, _, quantisation = name.partition(":")
    kind = registry.backends[name]
    models = Models(registry.models, cache)
    model = models.find(place)
    formats = {each.name: each for each in kind.quantisations()}
    chosen = formats[quantisation] if quantisation else default_format(kind, model)
    options = kind.Options(**{key: value for key, value in settings.items() if key in kind.Options.model_fields})
    prepared = kind.prepare(models.readable(model, kind, chosen), chosen.name, "cpu", options, cache)
    backend = kind()
    facts = backend.load(prepared, "cpu", options)
    backend.warmup()
    assert facts.vocabulary_size is not None
    return backend, facts.vocabulary_size


def peak_bytes() -> float:
    """Return the peak resident set of this process so far."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) * 1024.0


if __name__ == "__main__":
    main()
