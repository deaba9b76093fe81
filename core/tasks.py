"""What a task is: prompts, references and how an answer is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import JsonValue

from .errors import UsageError


@dataclass(frozen=True, slots=True)
class TaskSample:
    """One problem of a task.

    Attributes:
        id: stable within the task and version, e.g. ``"tiny-gsm/1/17"``.
        prompt: the text to continue; with ``messages`` set, the plain form used when no chat template is asked for.
        reference: the right answer in the form that ``Task.score`` compares with.
        messages: chat turns (``role``, ``content``), used when the plan says ``chat = true``.
        choices: answers to choose among: nothing is generated, the log-probability of each behind the prompt counts.
        data: what else the scorer needs, such as the unit tests of a programming problem; plain JSON.
    """

    id: str
    prompt: str
    reference: str
    messages: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    data: Mapping[str, JsonValue] = field(default_factory=dict)


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
    """A seeded source of problems and their scorer. Any change of prompts or scoring raises ``version``.

    A user names a task as ``name``, or as ``name:argument`` where the class declares an ``argument``.

    Args:
        argument: what stands behind the colon; None where nothing does.

    Raises:
        UsageError: an argument is missing, or one was given to a task that takes none.

    Attributes:
        name: what users call it; of an instance, with its argument.
        version: raised with every change of prompts or scoring; of a task over a file, its content belongs to it.
        summary: one line for listings.
        template: the prompt, with what is filled in between braces, for listings.
        extraction: how the answer is found in a text and compared, for listings.
        source: where the problems come from, for listings.
        metric: name of the mean score; None for a task that only gives prompts, whose answers nobody scores.
        argument: what may follow the name, as help shows it (``"PATH"``); None: nothing may.
        stop: strings that end an answer, where the user gives none; in a chat the model's end token does.
        max_new_tokens: how long an answer may become, where the user does not say.
        executes_code: whether scoring runs code that a model wrote, which the user has to allow.
    """

    name: str
    version: str
    summary: ClassVar[str]
    template: ClassVar[str] = ""
    extraction: ClassVar[str] = ""
    source: ClassVar[str] = ""
    metric: ClassVar[str | None] = "accuracy"
    argument: ClassVar[str | None] = None
    stop: tuple[str, ...] = ()
    max_new_tokens: int | None = None
    executes_code: ClassVar[bool] = False

    def __init__(self, argument: str | None = None) -> None:
        if argument is None and self.argument is not None:
            raise UsageError(f"task {self.name!r} needs to know more: write {self.name}:{self.argument}")
        if argument is not None and self.argument is None:
            raise UsageError(f"task {self.name!r} takes nothing behind a colon, but {argument!r} was given")
        if argument is not None:
            self.name = f"{self.name}:{argument}"

    @abstractmethod
    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` problems (fewer where the task has no more), the same ones for the same seed.

        A larger ``n`` with the same seed begins with the same problems.

        Raises:
            UsageError: the problems are not there; says how to get them, and where files may be placed by hand.
        """

    def check(self) -> None:  # noqa: B027 - most tasks need nothing
        """Refuse, before anything is measured, what scoring needs and this machine lacks.

        Raises:
            UsageError: says what is missing and how to get it.
        """

    def score(self, sample: TaskSample, text: str) -> Score | None:
        """Compare the generated ``text`` (stop strings and special tokens removed) with the reference.

        Returns:
            The score; None where there is nothing to score, as for a task without ``metric``.
        """
        return None

    def score_all(self, answers: Iterable[tuple[TaskSample, str]]) -> Iterator[Score | None]:
        """Score many answers, in their order and without holding them all; a task may do several at once."""
        return (self.score(sample, text) for sample, text in answers)
