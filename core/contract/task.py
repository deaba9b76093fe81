"""What a task is: prompts, references and how an answer is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import JsonValue

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class TaskSample:
    """One problem of a task.

    Attributes:
        id: stable within the task and version, e.g. ``"tiny-gsm/1/17"``.
        prompt: the text to continue; with ``messages`` set, the plain form used when no chat template is asked for.
        reference: the right answer in the form that ``Task.score`` compares with.
        messages: chat turns (``role``, ``content``), used when the plan says ``chat = true``.
        choices: answers to choose among: nothing is generated; the log-probability of each after the prompt counts.
            A task gives choices with every problem or with none.
        contexts: one prompt for each choice, if they do not all follow ``prompt``; an empty one is the model's begin
            token.
        data: what else the scorer needs, such as the unit tests of a programming problem; plain JSON.
        after: id of the sample whose answer must have ended before this one is sent, such as the turn before; where
            requests run side by side, it waits for it.
        answer_like: the answer may become as many tokens long as this text.
    """

    id: str
    prompt: str
    reference: str
    messages: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    after: str | None = None
    answer_like: str | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a choice is after its prompt.

    Attributes:
        logprob: sum of its tokens' log-probabilities, natural logarithm.
        is_greedy: whether each of its tokens was the most likely one.
    """

    logprob: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Score:
    """How good one answer is.

    Attributes:
        value: between 0 (wrong) and 1 (right).
        extracted: the answer found in the text, or the most likely choice; None if none was found.
        further: other measures of the same answer by name, such as ``accuracy_norm``.
    """

    value: float
    extracted: str | None = None
    further: Mapping[str, float] = field(default_factory=dict)


class Task(ABC):
    """A seeded source of problems and their scorer. Any change of prompts or scoring raises ``version``.

    A user names a task as ``name``, or as ``name:argument`` where the class declares an ``argument``.

    Args:
        argument: the text after the colon, or None.

    Raises:
        UsageError: an argument is missing, or one was given to a task that takes none.

    Attributes:
        name: what users type; of an instance, with its argument.
        version: raised with every change of prompts or scoring; for a task over a file it includes the content.
        summary: one line for listings.
        template: the prompt, with placeholders in braces, for listings.
        extraction: how the answer is found in a text and compared, for listings.
        source: where the problems come from, for listings.
        metric: name of the mean score; None for a task that only gives prompts.
        argument: what may follow the name, as help shows it; None: nothing. ``"PATH"`` is a file, with settings after a
            question mark: a bundle includes it if ``version`` says that it is still the same.
        stop: strings that end an answer unless the user gives some; in a chat the model's end token does.
        max_new_tokens: longest answer in tokens unless the user sets it.
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
            raise UsageError(
                f"task {self.name!r} needs an argument: write {self.name}:{self.argument}", code="missing-flag"
            )
        if argument is not None and self.argument is None:
            raise UsageError(f"task {self.name!r} takes no argument, but {argument!r} was given", code="bad-value")
        if argument is not None:
            self.name = f"{self.name}:{argument}"

    @abstractmethod
    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield ``n`` problems (fewer if the task has fewer), the same ones for the same seed.

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
        """Score many answers, in order and without keeping all of them; a task may score several at once."""
        return (self.score(sample, text) for sample, text in answers)

    def score_choices(self, sample: TaskSample, likelihoods: Sequence[Likelihood]) -> Score:
        """Judge a problem with choices: right is the one that ``sample.reference`` names, by index from 0 or by letter.

        The likeliest choice counts, the first of several. ``accuracy_norm`` divides each log-probability by the number
        of characters of the choice first, ``accuracy_bytes`` by its UTF-8 bytes; space around the choice, which only
        joins it to its prompt, is not counted. lm-evaluation-harness calls the same ``acc``, ``acc_norm`` and
        ``acc_bytes``.

        Raises:
            UsageError: the reference names no choice.
        """
        right = index_of_choice(sample)
        bare = [choice.strip() for choice in sample.choices]
        sums = [likelihood.logprob for likelihood in likelihoods]
        found = likeliest(sums)
        further = {
            "accuracy_norm": float(likeliest(sums, [len(choice) for choice in bare]) == right),
            "accuracy_bytes": float(likeliest(sums, [len(choice.encode()) for choice in bare]) == right),
        }
        is_letter = not sample.reference.strip().isdecimal()
        return Score(float(found == right), chr(ord("A") + found) if is_letter else str(found), further)


def likeliest(logprobs: Sequence[float], lengths: Sequence[int] = ()) -> int:
    """Return the index of the largest log-probability, each divided by its length where lengths are given."""
    values = [value / max(1, n) for value, n in zip(logprobs, lengths, strict=True)] if lengths else logprobs
    return max(range(len(values)), key=values.__getitem__)


def index_of_choice(sample: TaskSample) -> int:
    """Return which choice is right; raises ``UsageError`` where the reference is neither index nor letter of one."""
    text = sample.reference.strip()
    index = int(text) if text.isdecimal() else ord(text.upper()) - ord("A") if len(text) == 1 else -1
    if not 0 <= index < len(sample.choices):
        last = len(sample.choices) - 1
        raise UsageError(
            f"problem {sample.id!r}: its reference {sample.reference!r} names none of {last + 1} choices: "
            f"write 0 to {last}, or A to {chr(ord('A') + last)}",
            code="bad-value",
        )
    return index
