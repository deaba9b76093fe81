"""What a task is: prompts, references and how an answer is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class TaskSample:
    """One problem of a task.

    Attributes:
        id: stable within the task and version, e.g. ``"tiny-gsm/1/17"``.
        prompt: the text to continue; with ``messages`` set, the plain form used when no chat template is asked for.
        reference: the right answer in the form that ``Task.score`` compares with.
        messages: chat turns (``role``, ``content``), used when the plan says ``chat = true``.
    """

    id: str
    prompt: str
    reference: str
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """How good one generation is.

    Attributes:
        value: between 0 (wrong) and 1 (right).
        extracted: the answer that was found in the text, None where none was.
    """

    value: float
    extracted: str | None = None


class Task(ABC):
    """A seeded source of problems and their scorer. Any change of prompts or scoring raises ``version``."""

    name: ClassVar[str]
    version: ClassVar[str]
    summary: ClassVar[str]
    metric: ClassVar[str] = "accuracy"

    @abstractmethod
    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` problems (fewer where the task has no more), the same ones for the same seed.

        A larger ``n`` with the same seed begins with the same problems.
        """

    @abstractmethod
    def score(self, sample: TaskSample, text: str) -> Score:
        """Compare the generated ``text`` (stop strings and special tokens removed) with the reference."""
