"""Multiple choice as text: a question, its lettered answers, and the letters as what may follow."""

from __future__ import annotations

from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"


def asked(question: str, answers: Sequence[str]) -> str:
    """Return the question with one lettered answer a line and ``Answer:`` at the end."""
    lines = [f"{letter}. {answer}" for letter, answer in zip(LETTERS, answers, strict=False)]
    return "\n".join([question.strip(), *lines, "Answer:"])


def letters(answers: Sequence[str]) -> tuple[str, ...]:
    """Return what may follow ``Answer:``, a space before each letter."""
    return tuple(f" {letter}" for letter, _ in zip(LETTERS, answers, strict=False))
