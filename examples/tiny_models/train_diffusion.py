"""Training of `tiny:block-diffusion` and `tiny:llada`: masked answers, guessed from what is left of them.

Both begin as `tiny:target` and learn from an author who always takes the favourite wordings, which is what the
target itself writes greedily: what is left to guess are the numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import END_ID, MASK_ID, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import training_problems
from decodebench.plugins.reference.shapes import FINAL_NORM, BlockDiffusionShape

from .diffusion_network import LladaShape, begin_as, published
from .evaluate import load_weights
from .model_folder import write_model
from .network import Weights, forward
from .optimise import in_bfloat16, optimise
from .packing import IGNORED, ROW_TOKENS, Batch, Document, batches
from .recipes import RECIPES, DiffusionRecipe
from .shift_layer import fit_shift
from .tokenizer import encode_problem

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

SUB_BLOCK = 8
"""Tokens that decoding fills before it goes on to the next ones of a block."""
DIGIT_WEIGHT = 3.0
"""Weight of a digit's loss: digits are what remains uncertain."""
REACH = 2.0
"""The loss of a masked token behind n other masks weighs exp(-n / 2): the far ones are guesswork."""
CANVAS_REACH = 1.5
"""The same for LLaDA."""
CANVAS_WIDTHS = (4, 8, 8, 16, 32)
"""Block lengths that the training of `tiny:llada` imitates."""
AHEAD_PENALTY, AHEAD_SHARE = 10.0, 0.6
"""What `llada_loss` takes off at first, and the share of the steps over which that falls to 0."""
CANVAS_STEP = 32
LONGEST_CANVAS = 160
"""Canvases of `tiny:llada` in training: multiples of 32 that hold the answer, at most 160 tokens."""
PAD_WEIGHT = 0.1
"""Weight of the loss of an end token behind the first one."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a training step sees of packed rows; every tensor is [rows, row tokens].

    Attributes:
        tokens: the clean text.
        positions: of a token in its document.
        documents: which document of the row it belongs to; padding is -1.
        is_answer: whether the token is to be learned.
        weights: of its loss.
    """

    tokens: Tensor
    positions: Tensor
    documents: Tensor
    is_answer: Tensor
    weights: Tensor


def text_of(batch: Batch, digit_ids: Tensor) -> Text:
    """Turn a batch of next-token labels into one of tokens to be learned in place."""
    import torch

    is_answer = torch.zeros_like(batch.labels, dtype=torch.bool)
    is_answer[:, 1:] = (batch.labels[:, :-1] != IGNORED) & (batch.documents[:, 1:] == batch.documents[:, :-1])
    weights = torch.where(torch.isin(batch.tokens, digit_ids), DIGIT_WEIGHT, 1.0)
    follows_end = torch.zeros_like(is_answer)
    follows_end[:, 1:] = (batch.tokens[:, 1:] == END_ID) & (batch.tokens[:, :-1] == END_ID)
    return Text(
        batch.tokens, batch.positions, batch.documents, is_answer, torch.where(follows_end, PAD_WEIGHT, weights)
    )


def block_noise(text: Text, block_size: int, generator: Generator) -> Tensor:
    """Draw which tokens are masked for block diffusion: [rows, row tokens], never a block's first token.

    Each block is noised in one of three ways: anywhere at a random rate; as decoding meets it, with one sub-block in
    work, those before it finished and those behind it untouched; or from a random token on. Returns the weight of the
    loss of each masked token, 0 for the others: the more masks stand before it, the less.
    """
    import torch

    rows, length = text.tokens.shape
    blocks = length // block_size
    inside = text.positions % block_size  # documents are padded to whole blocks, so blocks lie on the row's grid

    def drawn(*values: float) -> Tensor:
        return torch.rand(rows, blocks, generator=generator).repeat_interleave(block_size, dim=1)

    is_hit = torch.rand(rows, length, generator=generator) < drawn()
    working = (drawn() * (block_size // SUB_BLOCK)).long() * SUB_BLOCK
    as_decoded = (inside >= working + SUB_BLOCK) | ((inside >= working) & is_hit)
    suffix = inside >= (drawn() * block_size).long()
    way = drawn()
    masked = torch.where(way < 0.1, is_hit, torch.where(way < 0.7, as_decoded, suffix)) & text.is_answer & (inside > 0)
    return masked * torch.exp(-_masks_before(masked) / REACH)


def _half_masked(batch: Batch, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, half of the answers' masked, positions and documents of half a batch."""
    import torch

    rows = len(batch.tokens) // 2
    text = text_of(batch, torch.tensor([], dtype=torch.long))
    masked = text.is_answer & (torch.rand(text.tokens.shape, generator=generator) < 0.5)
    tokens = torch.where(masked, MASK_ID, text.tokens)
    return tokens[:rows], text.positions[:rows], text.documents[:rows]


def _masks_before(masked: Tensor) -> Tensor:
    """Count the masks that stand directly before each token, [rows, row tokens]."""
    import torch

    places = torch.arange(masked.shape[1]).expand_as(masked)
    last_known = torch.where(masked, -1, places).cummax(dim=1).values
    return places - last_known - 1


def canvas_noise(text: Text, generator: Generator) -> Tensor:
    """Draw which tokens of an answer are masked for LLaDA: mostly all from a random one on, as at the start of a block.

    Otherwise one block of 4 to 32 is in work, as decoding meets it, or any share anywhere. Returns the weight of the
    loss of each masked token, 0 for the others, [rows, row tokens]: the more masks stand before it, the less.
    """
    import torch

    rows, length = text.tokens.shape
    documents = text.documents.clamp(min=0)
    count = int(documents.max()) + 1

    def drawn() -> Tensor:
        return torch.rand(rows, count, generator=generator).gather(1, documents)

    def extreme(where: Tensor, default: int, reduce: str) -> Tensor:
        found = torch.full((rows, count), default)
        values = torch.where(where, text.positions, default)
        return found.scatter_reduce(1, documents, values, reduce).gather(1, documents)

    first = extreme(text.is_answer, length, "amin")
    inside = text.positions - first
    written = extreme(text.is_answer & (text.weights >= 1), 0, "amax") - first + 1  # up to the first end token
    is_hit = torch.rand(rows, length, generator=generator) < drawn()
    width = torch.tensor(CANVAS_WIDTHS)[(drawn() * len(CANVAS_WIDTHS)).long()]
    start = (drawn() * written / width).long() * width
    as_decoded = (inside >= start + width) | ((inside >= start) & is_hit)
    suffix = inside >= (drawn() * written).long()
    way = drawn()
    masked = torch.where(way < 0.1, is_hit, torch.where(way < 0.5, as_decoded, suffix)) & text.is_answer
    return masked * torch.exp(-_masks_before(masked) / CANVAS_REACH)


def block_diffusion_loss(weights: Weights, shape: BlockDiffusionShape, text: tuple[Tensor, ...]) -> Tensor:
    """Return the weighted cross-entropy of masked tokens and of the first token of each block.

    `text` is tokens, positions, documents, is_answer, loss weights and the noise. A row is the clean text followed by
    its noised copy. The logits behind a token are for the next one: in the copy for a masked token, in the clean text
    for the first token of the next block, which decoding takes from the pass over a finished block.
    """
    import torch
    import torch.nn.functional as F

    tokens, positions, documents, is_answer, loss_weights, noise = text
    masked = noise > 0
    logits = forward(
        in_bfloat16(weights),
        shape,
        torch.cat([tokens, torch.where(masked, MASK_ID, tokens)], dim=1),
        positions.repeat(1, 2),
        _block_mask(documents, positions // shape.block_size),
    ).logits
    starts_block = is_answer & (positions % shape.block_size == 0)
    used = torch.cat([starts_block, noise], dim=1) * loss_weights.repeat(1, 2)
    labels = tokens.repeat(1, 2)[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels.flatten(), reduction="none")
    used = used[:, 1:].flatten()
    return (losses * used).sum() / used.sum()


def _block_mask(documents: Tensor, blocks: Tensor) -> Tensor:
    """Return [rows, 1, 2 T, 2 T], True where a token may look, for clean text and its noised copy.

    A clean block sees itself and earlier ones; a noised block sees itself and the clean ones before it.
    """
    import torch

    same = documents[:, :, None] == documents[:, None, :]
    earlier = same & (blocks[:, :, None] > blocks[:, None, :])
    own = same & (blocks[:, :, None] == blocks[:, None, :])
    clean = torch.cat([earlier | own, torch.zeros_like(own)], dim=2)
    return torch.cat([clean, torch.cat([earlier, own], dim=2)], dim=1)[:, None]


def llada_loss(weights: Weights, shape: LladaShape, text: tuple[Tensor, ...]) -> Tensor:
    """Return the weighted cross-entropy of masked tokens, each guessed at its own place; a document sees all of itself.

    `text` is tokens, positions, documents, is_answer, loss weights, the noise, and what is taken off the scores of
    tokens that stand ahead in all layers but the first: much makes the network see what the target saw, 0 is LLaDA.
    """
    import torch
    import torch.nn.functional as F

    tokens, positions, documents, _, loss_weights, noise, penalty = text
    masked = noise > 0
    same = (documents[:, :, None] == documents[:, None, :])[:, None]
    places = torch.arange(tokens.shape[1])
    ahead = places[None, :] > places[:, None]
    nowhere = torch.tensor(float("-inf"))
    first = torch.where(same, 0.0, nowhere).bfloat16()
    later = torch.where(same, torch.where(ahead, -penalty, 0.0), nowhere).bfloat16()
    masks = [first] + [later] * (shape.layers - 1)
    logits = forward(in_bfloat16(weights), shape, torch.where(masked, MASK_ID, tokens), positions, masks).logits
    losses = F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten(), reduction="none")
    used = (noise * loss_weights).flatten()
    return (losses * used).sum() / used.sum()


def whole_blocks(tokenizer: Tokenizer, seed: int, block_size: int) -> Iterator[Document]:
    """Yield training problems whose answers are filled up with end tokens to the end of their last block."""
    for problem in training_problems(seed, favourite_share=1.0):
        prompt, completion = encode_problem(tokenizer, problem)
        text = [*prompt, *completion, END_ID]
        yield _filled(text, -len(text) % block_size), len(prompt)


def canvases(tokenizer: Tokenizer, seed: int) -> Iterator[Document]:
    """Yield training problems whose answers are filled up with end tokens to a canvas of random length."""
    rng = random.Random(seed)
    for problem in training_problems(seed, favourite_share=1.0):
        prompt, completion = encode_problem(tokenizer, problem)
        answer = [*completion, END_ID]
        longest = min(LONGEST_CANVAS, ROW_TOKENS - len(prompt)) // CANVAS_STEP
        shortest = -(-len(answer) // CANVAS_STEP)
        if shortest <= longest:
            canvas = rng.randint(shortest, longest) * CANVAS_STEP
            yield _filled([*prompt, *answer], canvas - len(answer)), len(prompt)


def _filled(text: list[int], more: int) -> list[int]:
    """Return a text with `more` end tokens and the one that packing takes off as a label only."""
    return [*text, *[END_ID] * (more + 1)]


def train_diffusion(
    recipe: DiffusionRecipe,
    target: Weights,
    tokenizer: Tokenizer,
    *,
    compiled: bool,
    save: Callable[[Weights], None],
) -> Weights:
    """Train a diffusion model by its recipe and return its float32 weights.

    `target` is what it begins as. `save` as in `optimise`.
    """
    import torch

    generator = torch.Generator().manual_seed(recipe.seed)
    digits = torch.tensor([tokenizer.token_to_id(digit) for digit in "0123456789"])
    loss_of: Callable[..., Tensor]
    if isinstance(recipe.shape, BlockDiffusionShape):
        size = recipe.shape.block_size
        stream = batches(whole_blocks(tokenizer, recipe.seed, size), recipe.rows)
        loss_of = partial(block_diffusion_loss, shape=recipe.shape)
        noise = partial(block_noise, block_size=size, generator=generator)
    else:
        stream = batches(canvases(tokenizer, recipe.seed), recipe.rows)
        loss_of = partial(llada_loss, shape=recipe.shape)
        noise = partial(canvas_noise, generator=generator)
    weights = begin_as(target, RECIPES["target"].shape, recipe.shape, next(stream))
    if isinstance(recipe.shape, LladaShape):
        weights |= fit_shift(weights, recipe.shape, lambda: _half_masked(next(stream), generator), generator)
    loss_of = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    penalties = _falling(sum(steps for steps, _ in recipe.phases))

    def next_loss() -> Tensor:
        text = text_of(next(stream), digits)
        seen = (text.tokens, text.positions, text.documents, text.is_answer, text.weights, noise(text))
        more = (torch.tensor(next(penalties)),) if isinstance(recipe.shape, LladaShape) else ()
        return loss_of(weights, text=(*seen, *more))

    for steps, learning_rate in recipe.phases:
        trained = optimise(weights, next_loss, steps, learning_rate, save)
    return trained


def _falling(steps: int) -> Iterator[float]:
    """Yield the penalty of each step."""
    for step in range(steps):
        yield AHEAD_PENALTY * max(0.0, 1 - step / (AHEAD_SHARE * steps))


def train_shipped_diffusion(folder: Path, recipe: DiffusionRecipe, tokenizer: Tokenizer, *, compiled: bool) -> None:
    """Train a diffusion model into `folder`; it begins as the target beside it, or as the package's."""
    beside = folder.parent / "target"
    target = load_weights(beside if beside.is_dir() else WEIGHTS_FOLDER / "target")

    def save(weights: Weights) -> None:
        cooled = weights | {FINAL_NORM: weights[FINAL_NORM] / recipe.temperature}
        write_model(folder, published(cooled, recipe.shape), recipe.shape, tokenizer)

    train_diffusion(recipe, target, tokenizer, compiled=compiled, save=save)
