"""Training of `tiny:dflash`: blocks at random anchors of the target's own answers to training problems.

What the target writes greedily is what decoding asks a draft for, so these tokens are the labels. Target, embedding
and output head stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import END_ID, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import Problem, training_problems
from decodebench.plugins.reference.shapes import DraftShape, Shape

from .dflash_network import Block, context_features, draft_logits
from .evaluate import answer_problems, block_acceptance, load_weights
from .model_folder import write_checkpoint
from .network import Weights, forward, initial_weights
from .optimise import in_bfloat16, optimise
from .packing import IGNORED, ROW_TOKENS, ROWS_PER_STEP, Batch, Document, batches, causal_mask
from .recipes import RECIPES, DraftRecipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

QUERIES_PER_ROW = 240
"""Block tokens drawn per row of text, anchors included: a multiple of every block size."""
GAMMA = {4: 2.0, 8: 4.0, 16: 7.0}
"""The block sizes trained, each with the reach of its loss: the k-th guess of a block weighs exp(-(k - 1) / gamma)."""
_TOLD_BLOCK_SIZE = 8
"""Block size at which the command reports tau."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Draft queries, every tensor [rows, queries].

    Attributes:
        anchors: index in the row of the anchor of the query's block.
        offsets: index in the block, 0 is the anchor itself.
        numbers: which block of the row.
        weights: of the query's loss.
    """

    anchors: Tensor
    offsets: Tensor
    numbers: Tensor
    weights: Tensor


def draw_blocks(batch: Batch, generator: Generator) -> Blocks:
    """Draw a block size for every row and anchors among all tokens of its answers that another one follows."""
    import torch

    has_label = batch.labels != IGNORED
    may_anchor = torch.zeros_like(has_label)
    may_anchor[:, 1:] = has_label[:, :-1] & has_label[:, 1:]
    sizes = torch.tensor(list(GAMMA))[torch.randint(len(GAMMA), (ROWS_PER_STEP,), generator=generator)][:, None]
    gammas = torch.tensor([GAMMA[size] for size in sizes[:, 0].tolist()])[:, None]
    drawn = torch.multinomial(may_anchor.float(), QUERIES_PER_ROW // min(GAMMA), replacement=True, generator=generator)
    queries = torch.arange(QUERIES_PER_ROW)[None]
    numbers, offsets = queries // sizes, queries % sizes
    weights = torch.where(offsets > 0, torch.exp(-(offsets - 1) / gammas), 0.0)
    return Blocks(drawn.gather(1, numbers), offsets, numbers, weights)


def block_loss(
    weights: Weights,
    shape: DraftShape,
    target: Weights,
    target_shape: Shape,
    batch: tuple[Tensor, ...],
    blocks: tuple[Tensor, ...],
) -> Tensor:
    """Return the weighted mean cross-entropy of the blocks, computed in bfloat16 from float32 weights.

    `batch` is tokens, positions, labels and documents; `blocks` anchors, offsets, numbers and weights. `target` is in
    bfloat16 already and gets no gradient.
    """
    import torch
    import torch.nn.functional as F

    tokens, positions, _, documents = batch
    with torch.no_grad():
        known = forward(target, target_shape, tokens, positions, causal_mask(documents))
        features = context_features(known.outputs, shape)
        block = block_inputs(batch, blocks, shape.mask_id)
    logits = draft_logits(in_bfloat16(weights), shape, target, block, features)
    labels = block_labels(batch, blocks).flatten()
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels, reduction="none", ignore_index=IGNORED)
    weighted = blocks[3].flatten() * (labels != IGNORED)
    return (losses * weighted).sum() / weighted.sum()


def block_inputs(batch: tuple[Tensor, ...], blocks: tuple[Tensor, ...], mask_id: int) -> Block:
    """Lay the blocks of a row side by side behind its text, so that none sees more than when decoding.

    Returns their tokens [rows, queries], the positions of text and blocks [rows, row tokens + queries], and the mask
    [rows, 1, queries, row tokens + queries]: a query sees its document before the anchor, and its own block.
    """
    import torch

    tokens, positions, _, documents = batch
    anchors, offsets, numbers, _ = blocks
    is_before = torch.arange(ROW_TOKENS) < anchors[:, :, None]
    sees_text = is_before & (documents.gather(1, anchors)[:, :, None] == documents[:, None, :])
    sees_block = numbers[:, :, None] == numbers[:, None, :]
    return Block(
        torch.where(offsets == 0, tokens.gather(1, anchors), mask_id),
        torch.cat([positions, positions.gather(1, anchors) + offsets], dim=1),
        torch.cat([sees_text, sees_block], dim=2)[:, None],
    )


def block_labels(batch: tuple[Tensor, ...], blocks: tuple[Tensor, ...]) -> Tensor:
    """Return the token that stands at each index of the blocks, [rows, queries].

    There is none to guess at the anchor and behind the end of its document.
    """
    import torch

    _, _, labels, documents = batch
    anchors, offsets, _, _ = blocks
    before = anchors + offsets - 1  # where the token's predecessor is, whose label it is
    asked = before.clamp(max=ROW_TOKENS - 1)
    is_inside = (asked == before) & (documents.gather(1, asked) == documents.gather(1, anchors))
    return torch.where((offsets > 0) & is_inside, labels.gather(1, asked), IGNORED)


def own_answers(
    target: Weights, target_shape: Shape, tokenizer: Tokenizer, seed: int, problems: int
) -> Iterator[Document]:
    """Let a target answer training problems greedily and yield its answers without end, each time in another order.

    Answers that do not come to their end are left out.
    """
    answers = answer_problems(target, target_shape, tokenizer, islice(training_problems(seed), problems))
    documents = [([*a.prompt, *a.output], len(a.prompt)) for a in answers if a.output[-1] == END_ID]
    rng = random.Random(seed)
    while True:
        rng.shuffle(documents)
        yield from documents


def train_draft(
    recipe: DraftRecipe,
    target: Weights,
    target_shape: Shape,
    tokenizer: Tokenizer,
    *,
    compiled: bool,
    save: Callable[[Weights], None],
) -> Weights:
    """Train a draft of `target` from scratch by its recipe and return its float32 weights; `save` as in `optimise`."""
    import torch

    generator = torch.Generator().manual_seed(recipe.seed)
    weights = initial_weights(recipe.shape, generator)
    loss_of = torch.compile(block_loss, dynamic=False) if compiled else block_loss
    frozen = in_bfloat16(target)
    stream = batches(own_answers(target, target_shape, tokenizer, recipe.seed, recipe.problems))

    def next_loss() -> Tensor:
        batch = next(stream)
        blocks = draw_blocks(batch, generator)
        return loss_of(
            weights,
            recipe.shape,
            frozen,
            target_shape,
            (batch.tokens, batch.positions, batch.labels, batch.documents),
            (blocks.anchors, blocks.offsets, blocks.numbers, blocks.weights),
        )

    return optimise(weights, next_loss, recipe.steps, recipe.learning_rate, save)


def train_shipped_draft(
    folder: Path, recipe: DraftRecipe, tokenizer: Tokenizer, problems: Sequence[Problem], *, compiled: bool
) -> str:
    """Train a draft into `folder` and say how good it is on `problems`.

    Its target is the one beside `folder`, or the package's where there is none.
    """
    beside = folder.parent / "target"
    target = load_weights(beside if beside.is_dir() else WEIGHTS_FOLDER / "target")
    target_shape = RECIPES["target"].shape
    save = partial(write_checkpoint, folder, shape=recipe.shape)
    weights = train_draft(recipe, target, target_shape, tokenizer, compiled=compiled, save=save)
    answers = answer_problems(target, target_shape, tokenizer, problems)
    measured = block_acceptance(target, target_shape, weights, recipe.shape, answers, _TOLD_BLOCK_SIZE)
    return f"tau {measured.tau:.2f} at block {_TOLD_BLOCK_SIZE}"
