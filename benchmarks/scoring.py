"""What four choices cost beside one prefill of their prompt, and what scoring a long text needs in memory.

The model is untrained and has the vocabulary of a real one. Each backend runs in a process of its own.
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

from decodebench import ModelCache, Request
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.sdk.models import resolve
from decodebench.plugins.reference.family import WEIGHTS_FOLDER

_CHOICES = (1, 2, 3, 4)  # tokens of each
_MOST_RATIO = 1.3
_SHAPE = dict(hidden_size=512, num_hidden_layers=8, intermediate_size=1536, num_attention_heads=8)
_SHAPE |= dict(num_key_value_heads=4, head_dim=64, max_position_embeddings=4096, tie_word_embeddings=True)


@click.command()
@click.option("-b", "--backend", "backends", multiple=True, help="NAME or NAME:QUANTISATION; default: all that score.")
@click.option("--vocabulary", default=151_936, show_default=True, help="Ids of the model.")
@click.option("--prompt", default=768, show_default=True, help="Tokens of the prompt.")
@click.option("--text", default=2048, show_default=True, help="Tokens of the text whose memory is watched.")
@click.option("--repetitions", default=5, show_default=True, help="Of prefill and choices, in turn.")
@click.option("--one", hidden=True, help="Measure this backend on the folder, in this process.")
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(
    backends: tuple[str, ...],
    vocabulary: int,
    prompt: int,
    text: int,
    repetitions: int,
    one: str | None,
    folder: Path | None,
) -> None:
    """Print a row for each backend."""
    if one is not None and folder is not None:
        print(json.dumps(measured(one, folder, (prompt, text), repetitions)))
        return
    registry = all_plugins()
    able = [name for name, kind in registry.backends.items() if "score" in kind.supports and kind.probe().available]
    click.echo(
        "| backend | prefill ms | four choices ms | ratio | at most 1.3 | text MB above loaded | logits of it MB |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as place:
        save(Path(place), vocabulary)
        for name in backends or able:
            command = [sys.executable, __file__, "--one", name, "--folder", place, "--prompt", str(prompt)]
            command += ["--text", str(text), "--repetitions", str(repetitions)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                click.echo(f"| {name} | {ended.stderr.strip().splitlines()[-1][:100]} |")
                continue
            found = json.loads(ended.stdout.splitlines()[-1])
            ratio = found["choices_s"] / found["prefill_s"]
            click.echo(
                f"| {name} | {found['prefill_s'] * 1e3:.0f} | {found['choices_s'] * 1e3:.0f} | {ratio:.2f} | "
                f"{'yes' if ratio <= _MOST_RATIO else 'no'} | {found['text_bytes'] / 1e6:.0f} | "
                f"{text * vocabulary * 4 / 1e6:.0f} |"
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


def measured(name: str, folder: Path, sizes: tuple[int, int], repetitions: int) -> dict[str, float]:
    """Time prefill and choices in turn, the first of each left out; then score a text and look at the peak."""
    registry, cache = all_plugins(), ModelCache()
    name, _, quantisation = name.partition(":")
    kind = registry.backends[name]
    options = kind.Options()
    model = resolve(str(folder), registry.models, cache)
    prepared = kind.prepare(model, quantisation or kind.quantisations()[0].name, "cpu", options, cache)
    backend = kind()
    backend.load(prepared, "cpu", options)
    chooser = random.Random(1)
    prompt, text = ([chooser.randrange(1000) for _ in range(size)] for size in sizes)
    choices = [[chooser.randrange(1000) for _ in range(size)] for size in _CHOICES]
    times: dict[str, list[float]] = {"prefill_s": [], "choices_s": []}
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        list(backend.generate([Request(tuple(prompt), 1, ignore_eos=True)]))
        middle = time.perf_counter()
        backend.score_continuations(prompt, choices)
        times["prefill_s"].append(middle - start)
        times["choices_s"].append(time.perf_counter() - middle)
    before = peak_bytes()
    backend.score(text)
    found = {phase: statistics.median(values[1:]) for phase, values in times.items()}
    return found | {"text_bytes": peak_bytes() - before}


def peak_bytes() -> float:
    """Return the peak resident set of this process so far."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) * 1024.0


if __name__ == "__main__":
    main()
