"""The members of the tiny family: their sizes, how each is trained, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .network import Shape
from .problems import Author
from .tokenizer import VOCAB_SIZE

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""One Hugging Face model folder per member, named as in RECIPES."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one member of the family is trained."""

    shape: Shape
    steps: int
    learning_rate: float
    seed: int
    author: Author = Author.FIRST


RECIPES = {
    "target": Recipe(Shape(256, 4, 768, 4, 2, VOCAB_SIZE), steps=2200, learning_rate=2e-3, seed=1),
    "draft": Recipe(Shape(128, 2, 384, 2, 1, VOCAB_SIZE), steps=2500, learning_rate=3e-3, seed=2, author=Author.SECOND),
}
