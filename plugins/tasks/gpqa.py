"""GPQA Diamond: graduate-level questions in biology, physics and chemistry (D. Rein et al., 2023). A gated data set."""

from __future__ import annotations

import random

from ...core.contract.task import TaskSample
from .choice import LETTERS, asked, letters
from .hub import HubData
from .hub_task import HubTask
from .rows import Row

_RIGHT = "Correct Answer"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class Gpqa(HubTask):
    """All 198 questions without examples; the likeliest letter is the answer.

    The data give the right answer first, so the order of the four is drawn from the question itself.
    """

    name = "gpqa"
    version = "1"
    summary = "GPQA Diamond: graduate-level science, 0-shot; the likeliest of four letters by log-likelihood"
    template = "{question}\\nA. {answer}\\n...\\nD. {answer}\\nAnswer:, the order drawn from the question"
    extraction = "log-likelihood of ' A' to ' D' behind the prompt"
    data = HubData("gpqa", "Idavidrein/gpqa", "633f5ee89ab8ad4522a9f850766b73f62147ffdd", "gpqa_diamond", is_gated=True)
    source = data.url
    split = "train"
    columns = ("Question", _RIGHT, *_WRONG)

    def sample(self, name: str, row: Row) -> TaskSample:
        """Shuffle the answers and letter them."""
        answers = [row[column].strip() for column in (_RIGHT, *_WRONG)]
        order = list(range(len(answers)))
        random.Random(row["Question"]).shuffle(order)
        shown = [answers[at] for at in order]
        prompt = asked(row["Question"], shown)
        return TaskSample(name, prompt, LETTERS[order.index(0)], (("user", prompt),), choices=letters(shown))
