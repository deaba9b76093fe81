"""MATH-500: the 500 problems of MATH (D. Hendrycks et al., 2021) that H. Lightman et al. (2023) held out."""

from __future__ import annotations

from ...core.contract.task import Score, TaskSample
from .hub import HubData
from .hub_task import HubTask
from .rows import Row
from .scoring import equivalence


class Math500(HubTask):
    """All problems; the answer is asked for in a box and may be any mathematical object."""

    name = "math500"
    version = "1"
    summary = "MATH-500: competition mathematics; equivalence of the final expression"
    template = "{problem}\\n\\nReason step by step, then give the answer within \\boxed{}."
    extraction = (
        r"the content of the last \boxed{}, else what stands behind ####, 'answer is' or in the last formula; equal by "
        "value, by LaTeX, or by math-verify"
    )
    data = HubData("math500", "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be")
    source = data.url
    columns = ("problem", "answer")
    max_new_tokens = 4096

    def check(self) -> None:
        """Need math-verify."""
        equivalence.check()

    def sample(self, name: str, row: Row) -> TaskSample:
        """Ask for the answer in a box."""
        asked = f"{row['problem'].strip()}\n\nReason step by step, then give the answer within \\boxed{{}}."
        return TaskSample(name, f"{asked}\n", row["answer"], (("user", asked),))

    def score(self, sample: TaskSample, text: str) -> Score:
        """Compare the final expression with the reference."""
        return equivalence.score_equivalence(text, sample.reference)
