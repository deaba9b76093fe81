"""Training of the tiny family: `python -m decodebench.plugins.reference.train` rebuilds the shipped weights.

The number of steps is fixed by the recipe (never a time), all random numbers are seeded, and training text comes
from an endless generator, so that no example is seen twice.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .network import Shape, Weights, forward, initial_weights
from .problems import Author, Problem, training_problems
from .recipes import RECIPES, WEIGHTS_FOLDER, Recipe
from .tokenizer import END_ID, PAD_ID, build_tokenizer, write_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.optim import Optimizer

ROW_TOKENS = 256
ROWS_PER_STEP = 16
_IGNORED = -100
_STEPS_PER_LINE = 50
_STEPS_PER_SAVE = 500
_POOL = 64
"""Documents among which a row's packing chooses; enough to leave about two tokens of a row empty."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows: every tensor is [rows, row tokens]; `documents` numbers a row's documents (padding: -1)."""

    tokens: Tensor
    positions: Tensor
    labels: Tensor
    documents: Tensor


def batches(tokenizer: Tokenizer, seed: int, author: Author = Author.FIRST) -> Iterator[Batch]:
    """Pack training problems into rows without end; only the tokens of an answer are labels."""
    import torch

    rows = _rows(_documents(tokenizer, seed, author))
    while True:
        data = torch.full((4, ROWS_PER_STEP, ROW_TOKENS), PAD_ID)
        data[1], data[2], data[3] = 0, _IGNORED, -1
        for row in range(ROWS_PER_STEP):
            start = 0
            for number, (ids, prompt_tokens) in enumerate(next(rows)):
                end = start + len(ids) - 1
                data[0, row, start:end] = torch.tensor(ids[:-1])
                data[1, row, start:end] = torch.arange(len(ids) - 1)
                data[2, row, start + prompt_tokens - 1 : end] = torch.tensor(ids[prompt_tokens:])
                data[3, row, start:end] = number
                start = end
        yield Batch(data[0], data[1], data[2], data[3])


def _documents(tokenizer: Tokenizer, seed: int, author: Author) -> Iterator[tuple[list[int], int]]:
    """Yield (ids of prompt, completion and end token; number of prompt tokens)."""
    for problem in training_problems(seed, author):
        prompt, completion = encode(tokenizer, problem)
        yield [*prompt, *completion, END_ID], len(prompt)


def encode(tokenizer: Tokenizer, problem: Problem) -> tuple[list[int], list[int]]:
    """Return the token ids of a problem's prompt and of its completion, tokenised apart as when generating."""
    prompt = tokenizer.encode(problem.prompt, add_special_tokens=False).ids
    return prompt, tokenizer.encode(problem.completion, add_special_tokens=False).ids


def _rows(documents: Iterator[tuple[list[int], int]]) -> Iterator[list[tuple[list[int], int]]]:
    """Fill rows from a pool: its oldest document first (so that none waits for ever), then the longest that fit."""
    pool = [next(documents) for _ in range(_POOL)]
    while True:
        row, room = [], ROW_TOKENS
        chosen: int | None = 0
        while chosen is not None:
            document = pool.pop(chosen)
            pool.append(next(documents))
            row.append(document)
            room -= len(document[0]) - 1
            fitting = [at for at, (ids, _) in enumerate(pool) if len(ids) - 1 <= room]
            chosen = max(fitting, key=lambda at: len(pool[at][0]), default=None)
        yield row


def answer_loss(weights: Weights, shape: Shape, batch: tuple[Tensor, ...]) -> Tensor:
    """Return the mean cross-entropy of the labels, computed in bfloat16 from float32 weights."""
    import torch
    import torch.nn.functional as F

    tokens, positions, labels, documents = batch
    same_document = documents[:, None, :, None] == documents[:, None, None, :]
    mask = same_document & torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool).tril()
    low = {name: weight.bfloat16() for name, weight in weights.items()}
    logits, _ = forward(low, shape, tokens, positions, mask=mask)
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=_IGNORED)


def train(recipe: Recipe, tokenizer: Tokenizer, *, compiled: bool, save: Callable[[Weights], None]) -> Weights:
    """Train a model from scratch by its recipe and return its float32 weights.

    Progress goes to standard error; `save` is given the weights every 500 steps and at the end.
    """
    import torch

    torch.manual_seed(recipe.seed)
    weights = initial_weights(recipe.shape, torch.Generator().manual_seed(recipe.seed))
    for weight in weights.values():
        weight.requires_grad_()
    optimizer = _optimizer(weights, recipe.learning_rate)
    loss_of = torch.compile(answer_loss, dynamic=False) if compiled else answer_loss
    stream = batches(tokenizer, recipe.seed, recipe.author)
    started, losses = time.perf_counter(), 0.0
    for step in range(1, recipe.steps + 1):
        _set_learning_rate(optimizer, recipe, step)
        batch = next(stream)
        loss = loss_of(weights, recipe.shape, (batch.tokens, batch.positions, batch.labels, batch.documents))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses += loss.item()
        if step % _STEPS_PER_LINE == 0:
            seconds = time.perf_counter() - started
            _say(f"step {step}/{recipe.steps}  loss {losses / _STEPS_PER_LINE:.4f}  {seconds:.0f} s")
            losses = 0.0
        if step % _STEPS_PER_SAVE == 0 or step == recipe.steps:
            save({name: weight.detach() for name, weight in weights.items()})
    return {name: weight.detach() for name, weight in weights.items()}


def _optimizer(weights: Weights, learning_rate: float) -> Optimizer:
    import torch

    matrices = [weight for weight in weights.values() if weight.dim() > 1]
    norms = [weight for weight in weights.values() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)


def _set_learning_rate(optimizer: Optimizer, recipe: Recipe, step: int) -> None:
    """Warm up over 3 % of the steps, then fall on a cosine to 2 % of the peak."""
    warmup = max(1, round(0.03 * recipe.steps))
    done = max(0.0, (step - warmup) / max(1, recipe.steps - warmup))
    factor = min(1.0, step / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * factor


def write_model(folder: Path, weights: Weights, shape: Shape, tokenizer: Tokenizer) -> None:
    """Write a Hugging Face model folder: float16 weights, configuration, generation defaults and tokenizer."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner alone
    config = shape.hf_config(eos_token_id=END_ID, pad_token_id=PAD_ID, dtype="float16")
    generation = {"do_sample": False, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, tokenizer)


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks instead of returning them: a step allocates the same ones again (1.4x faster)."""
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 256 * 2**20)
        libc.mallopt(mmap_max, 0)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> None:
    """Train the chosen members, write their folders and print their accuracy."""
    parser = argparse.ArgumentParser(prog="python -m decodebench.plugins.reference.train", description=main.__doc__)
    parser.add_argument("--model", choices=[*RECIPES, "all"], default="all")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER, help="parent of the model folders")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    parser.add_argument("--seed", type=int, help="instead of the recipe's seed")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems of the final test")
    parser.add_argument("--no-compile", action="store_true", help="do not compile (1.7x slower, needs no C++)")
    options = parser.parse_args(arguments)

    import torch

    from .evaluate import accuracy, held_out

    _keep_freed_memory()
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    for name in RECIPES if options.model == "all" else [options.model]:
        recipe = RECIPES[name]
        recipe = replace(
            recipe,
            steps=recipe.steps if options.steps is None else options.steps,
            seed=recipe.seed if options.seed is None else options.seed,
        )
        started = time.perf_counter()
        save = partial(write_model, options.out / name, shape=recipe.shape, tokenizer=tokenizer)
        weights = train(recipe, tokenizer, compiled=not options.no_compile, save=save)
        seconds = time.perf_counter() - started
        share = accuracy(weights, recipe.shape, tokenizer, held_out(options.problems))
        _say(f"{name}: {seconds:.0f} s, accuracy {share:.3f} on {options.problems} held-out problems")


if __name__ == "__main__":
    main()
