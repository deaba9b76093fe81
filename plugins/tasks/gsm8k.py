"""GSM8K: grade-school word problems (K. Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021)."""

from __future__ import annotations

import re

from ...core.contract.task import Score, TaskSample
from ...core.sdk.answers import final_number
from .hub import HubData
from .hub_task import HubTask
from .rows import Row
from .scoring.number import score_number

_DATA = HubData("gsm8k", "openai/gsm8k", "cc7b047b6e5bb11b4f1af84efc572db110a51b3c", "main")
_COLUMNS = ("question", "answer")
_CALCULATION = re.compile(r"<<[^<>]*>>")
_EXTRACTION = (
    r"the number behind the first ####, else in the last \boxed{}, else the last of the answer; equal in value, "
    "whatever its commas, currency signs and units"
)
_SHOTS = 8


class Gsm8k(HubTask):
    """The test problems without examples; the prompt asks for steps (T. Kojima et al., 2022)."""

    name = "gsm8k"
    version = "1"
    summary = "grade-school word problems, 0-shot chain of thought; exact match of the final number"
    template = "Question: {question}\\nAnswer: Let's think step by step."
    extraction = _EXTRACTION
    source = _DATA.url
    data, columns = _DATA, _COLUMNS
    stop = ("\nQuestion:",)
    max_new_tokens = 512

    def sample(self, name: str, row: Row) -> TaskSample:
        """Ask the question; with a chat template also say where the number has to stand."""
        question = row["question"].strip()
        prompt = f"Question: {question}\nAnswer: Let's think step by step."
        asked = f"{question}\n\nThink step by step. End with the final number on a line of its own, behind ####."
        return TaskSample(name, prompt, _reference(row), (("user", asked),))

    def score(self, sample: TaskSample, text: str) -> Score:
        """Compare the final number with the reference."""
        return score_number(text, sample.reference)


class Gsm8k8Shot(HubTask):
    """The same problems behind the first eight of the training split, worked out."""

    name = "gsm8k-8shot"
    version = "1"
    summary = "grade-school word problems behind eight worked examples; exact match of the final number"
    template = "Question: {question}\\nAnswer: {answer}, eight times from the training split, then the question"
    extraction = _EXTRACTION
    source = _DATA.url
    data, columns = _DATA, _COLUMNS
    example_split = "train"
    stop = ("\nQuestion:",)
    max_new_tokens = 512

    def sample(self, name: str, row: Row) -> TaskSample:
        """Put the examples before the question; in a chat they are one turn with it."""
        shots = "".join(f"{_asked(shot)} {_worked(shot)}\n\n" for shot in self.examples[:_SHOTS])
        prompt = shots + _asked(row)
        return TaskSample(name, prompt, _reference(row), (("user", prompt),))

    def score(self, sample: TaskSample, text: str) -> Score:
        """Compare the final number with the reference."""
        return score_number(text, sample.reference)


def _asked(row: Row) -> str:
    return f"Question: {row['question'].strip()}\nAnswer:"


def _worked(row: Row) -> str:
    """Return the worked answer without the marks of the data set's calculator."""
    return _CALCULATION.sub("", row["answer"]).strip()


def _reference(row: Row) -> str:
    return final_number(row["answer"]) or row["answer"].strip()
