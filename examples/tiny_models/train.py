"""Training of the tiny family: `python -m examples.tiny_models.train` rebuilds the shipped weights.

The number of steps is fixed by the recipe (never a time) and all random numbers are seeded. What is here trains the
autoregressive members: their text comes from an endless generator, so that no example is seen twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import DFLASH, END_ID, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import Author, Problem, training_problems
from decodebench.plugins.reference.shapes import Shape

from .evaluate import accuracy, held_out
from .model_folder import write_model
from .network import Weights, forward, initial_weights
from .optimise import in_bfloat16, keep_freed_memory, optimise, say
from .packing import IGNORED, Document, batches, causal_mask
from .recipes import DFLASH_RECIPE, DIFFUSION_RECIPES, RECIPES, Recipe
from .tokenizer import build_tokenizer, encode_problem
from .train_dflash import train_shipped_draft
from .train_diffusion import train_shipped_diffusion

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor


def written_solutions(tokenizer: Tokenizer, seed: int, author: Author = Author.FIRST) -> Iterator[Document]:
    """Yield training problems with an author's solutions, without end."""
    for problem in training_problems(seed, author):
        prompt, completion = encode_problem(tokenizer, problem)
        yield [*prompt, *completion, END_ID], len(prompt)


def answer_loss(weights: Weights, shape: Shape, batch: tuple[Tensor, ...]) -> Tensor:
    """Return the mean cross-entropy of the labels, computed in bfloat16 from float32 weights."""
    import torch.nn.functional as F

    tokens, positions, labels, documents = batch
    logits = forward(in_bfloat16(weights), shape, tokens, positions, causal_mask(documents)).logits
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def train(recipe: Recipe, tokenizer: Tokenizer, *, compiled: bool, save: Callable[[Weights], None]) -> Weights:
    """Train a model from scratch by its recipe and return its float32 weights.

    Progress goes to standard error; `save` is given the weights every 500 steps and at the end.
    """
    import torch

    torch.manual_seed(recipe.seed)
    weights = initial_weights(recipe.shape, torch.Generator().manual_seed(recipe.seed))
    loss_of = torch.compile(answer_loss, dynamic=False) if compiled else answer_loss
    stream = batches(written_solutions(tokenizer, recipe.seed, recipe.author))

    def next_loss() -> Tensor:
        batch = next(stream)
        return loss_of(weights, recipe.shape, (batch.tokens, batch.positions, batch.labels, batch.documents))

    return optimise(weights, next_loss, recipe.steps, recipe.learning_rate, save)


def train_member(
    folder: Path, recipe: Recipe, tokenizer: Tokenizer, problems: Sequence[Problem], *, compiled: bool
) -> str:
    """Train an autoregressive member into `folder` and say how good it is on `problems`."""
    save = partial(write_model, folder, shape=recipe.shape, tokenizer=tokenizer)
    weights = train(recipe, tokenizer, compiled=compiled, save=save)
    return f"accuracy {accuracy(weights, recipe.shape, tokenizer, problems):.3f}"


def main(arguments: list[str] | None = None) -> None:
    """Train the chosen members, write their folders and print how good they are."""
    parser = argparse.ArgumentParser(prog="python -m examples.tiny_models.train", description=main.__doc__)
    parser.add_argument("--model", choices=[*RECIPES, DFLASH, *DIFFUSION_RECIPES, "all"], default="all")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER, help="parent of the model folders")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    parser.add_argument("--seed", type=int, help="instead of the recipe's seed")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems of the final test")
    parser.add_argument("--no-compile", action="store_true", help="do not compile (1.7x slower, needs no C++)")
    options = parser.parse_args(arguments)

    import torch

    keep_freed_memory()
    torch.set_num_threads(1)
    tokenizer, problems = build_tokenizer(), held_out(options.problems)
    given = {field: value for field in ("steps", "seed") if (value := getattr(options, field)) is not None}
    for name in [*RECIPES, DFLASH, *DIFFUSION_RECIPES] if options.model == "all" else [options.model]:
        folder, compiled = options.out / name, not options.no_compile
        if name in DIFFUSION_RECIPES:
            diffusion = DIFFUSION_RECIPES[name]
            phases = ((options.steps, diffusion.phases[0][1]),) if options.steps is not None else diffusion.phases
            diffusion = replace(diffusion, phases=phases, seed=given.get("seed", diffusion.seed))
            train_shipped_diffusion(folder, diffusion, tokenizer, compiled=compiled)
            say(f"{name}: trained; `decodebench run -b fast-dllm -m {folder} --task tiny-gsm` says how good it is")
            continue
        if name == DFLASH:
            draft_recipe = replace(DFLASH_RECIPE, **given)
            quality = train_shipped_draft(folder, draft_recipe, tokenizer, problems, compiled=compiled)
        else:
            quality = train_member(folder, replace(RECIPES[name], **given), tokenizer, problems, compiled=compiled)
        say(f"{name}: {quality} on {options.problems} held-out problems")


if __name__ == "__main__":
    main()
