"""AIME 2025: the thirty problems of both papers, whose answers are integers from 0 to 999."""

from __future__ import annotations

from ...core.contract.task import Score, TaskSample
from .hub import HubData
from .hub_task import HubTask
from .rows import Row
from .scoring.integer import score_integer


class Aime25(HubTask):
    """All problems; the answer is asked for in a box."""

    name = "aime25"
    version = "1"
    summary = "AIME 2025, I and II: 30 competition problems; integer match"
    template = "{problem}\\n\\nReason step by step, then give the answer, an integer from 0 to 999, within \\boxed{}."
    extraction = r"the integer in the last \boxed{}, else the last number of the answer; equal as an integer"
    data = HubData("aime25", "math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b")
    source = data.url
    columns = ("problem", "answer")
    max_new_tokens = 16384

    def sample(self, name: str, row: Row) -> TaskSample:
        """Ask for the answer in a box."""
        asked = (
            f"{row['problem'].strip()}\n\n"
            "Reason step by step, then give the answer, an integer from 0 to 999, within \\boxed{}."
        )
        return TaskSample(name, f"{asked}\n", str(int(row["answer"])), (("user", asked),))

    def score(self, sample: TaskSample, text: str) -> Score:
        """Compare the integer with the reference."""
        return score_integer(text, sample.reference)
