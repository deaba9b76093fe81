"""MMLU: 57 subjects by multiple choice (D. Hendrycks et al., "Measuring Massive Multitask Language Understanding")."""

from __future__ import annotations

from ...core.contract.task import TaskSample
from .choice import LETTERS, asked, letters
from .hub import HubData
from .hub_task import HubTask
from .rows import Row, listed

_SHOTS = 5


class Mmlu(HubTask):
    """The test questions, each behind the five worked ones of its subject; the likeliest letter is the answer."""

    name = "mmlu"
    version = "1"
    summary = "MMLU: 57 subjects, 5-shot; the likeliest of four letters by log-likelihood"
    template = (
        "The following are multiple choice questions (with answers) about {subject}.\\n\\n, five questions with their "
        "letter, then {question}\\nA. {choice}\\n...\\nAnswer:"
    )
    extraction = "log-likelihood of ' A' to ' D' behind the prompt"
    data = HubData("mmlu", "cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", "all")
    source = data.url
    example_split = "dev"
    columns = ("question", "subject", "choices", "answer")

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self._of_subject: dict[str, list[Row]] = {}
        for row in self.examples:
            self._of_subject.setdefault(row["subject"], []).append(row)

    def sample(self, name: str, row: Row) -> TaskSample:
        """Put the subject's worked questions before this one."""
        subject = row["subject"].replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        shots = "".join(
            f"{asked(shot['question'], listed(shot, 'choices'))} {LETTERS[int(shot['answer'])]}\n\n"
            for shot in self._of_subject.get(row["subject"], [])[:_SHOTS]
        )
        answers = listed(row, "choices")
        prompt = head + shots + asked(row["question"], answers)
        return TaskSample(name, prompt, LETTERS[int(row["answer"])], (("user", prompt),), choices=letters(answers))
