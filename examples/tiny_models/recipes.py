"""The members of the tiny family: their sizes, how each is trained, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass

from decodebench.plugins.reference.family import VOCAB_SIZE
from decodebench.plugins.reference.problems import Author
from decodebench.plugins.reference.shapes import BlockDiffusionShape, DraftShape, Shape

from .diffusion_network import DiffusionShape, LladaShape


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an autoregressive member of the family is trained."""

    shape: Shape
    steps: int
    learning_rate: float
    seed: int
    author: Author = Author.FIRST


@dataclass(frozen=True, slots=True)
class DraftRecipe:
    """How a block draft of the target is trained: on the target's own answers to so many problems, over and over."""

    shape: DraftShape
    problems: int
    steps: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class DiffusionRecipe:
    """How a diffusion model that begins as the target is trained.

    Attributes:
        shape: its size.
        rows: rows of text per step.
        phases: steps and peak learning rate of each phase; every one has a schedule of its own.
        seed: of texts and noise.
        temperature: what the logits are divided by at the end: a lower confidence, fewer tokens committed together.
    """

    shape: DiffusionShape
    rows: int
    phases: tuple[tuple[int, float], ...]
    seed: int
    temperature: float = 1.0


RECIPES = {
    "target": Recipe(Shape(256, 4, 768, 4, 2, VOCAB_SIZE), steps=2200, learning_rate=2e-3, seed=1),
    "draft": Recipe(Shape(128, 2, 384, 2, 1, VOCAB_SIZE), steps=2500, learning_rate=3e-3, seed=2, author=Author.SECOND),
}

DFLASH_RECIPE = DraftRecipe(
    DraftShape(256, 2, 768, 4, 2, VOCAB_SIZE, target_layers=RECIPES["target"].shape.layers, taps=(0, 1, 2)),
    problems=16_000,
    steps=2000,
    learning_rate=1.5e-3,
    seed=3,
)

DIFFUSION_RECIPES = {
    "block-diffusion": DiffusionRecipe(
        BlockDiffusionShape(256, 4, 768, 4, 2, VOCAB_SIZE, block_size=16),
        rows=8,
        phases=((1800, 3e-4), (1450, 2e-4), (500, 1.5e-4), (580, 1.5e-4), (3000, 2e-4)),
        seed=4,
        temperature=1.6,
    ),
    "llada": DiffusionRecipe(
        LladaShape(256, 1 + RECIPES["target"].shape.layers, 768, 4, 4, VOCAB_SIZE),
        rows=16,
        phases=((1500, 2.5e-4),),
        seed=5,
    ),
}
