"""The plugin `reference`: a tiny trained family, untrained models for speed work, and the task that goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ...core.contract.hookspecs import hookimpl
from ...core.contract.model_source import ModelSource
from ...core.contract.task import Score, Task, TaskSample
from ...core.sdk.answers import final_number
from .family import DFLASH, WEIGHTS_FOLDER
from .random_models import RANDOM_MODELS, build
from .task import tiny_choice_samples, tiny_gsm_samples

decodebench_api = ">=3,<4"


class TinyGsm(Task):
    """Arithmetic word problems that the tiny family never saw in training."""

    name = "tiny-gsm"
    version = "1"
    summary = "held-out arithmetic word problems of the tiny family; exact match of the final number"
    template = "Question: {question}\\nAnswer:"
    extraction = r"the number behind the first ####, else in the last \boxed{}, else the last of the answer"
    source = "generated: plugins/reference/problems.py"

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield `n` held-out problems, the same ones for the same seed; there is no end of them."""
        for at, (prompt, answer) in enumerate(tiny_gsm_samples(n, seed)):
            question = prompt.removeprefix("Question: ").removesuffix("\nAnswer:")
            yield TaskSample(f"{self.name}/{seed}/{at}", prompt, answer, (("user", question),))

    def score(self, sample: TaskSample, text: str) -> Score:
        """Give 1 where the final number of `text` is the right one, else 0."""
        found = final_number(text)
        return Score(float(found == sample.reference), found)


class TinyChoice(Task):
    """Which of four numbers ends the last equation of a worked solution, by log-likelihood."""

    name = "tiny-choice"
    version = "1"
    summary = "the last equation of a tiny-gsm solution; which of four numbers is the likeliest to follow"
    template = "Question: {question}\\nAnswer: {solution up to the last equals sign}"
    extraction = "the likeliest of four numbers"
    source = TinyGsm.source

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield `n` held-out problems, the same ones for the same seed; there is no end of them."""
        for at, (prompt, numbers, right) in enumerate(tiny_choice_samples(n, seed)):
            yield TaskSample(f"{self.name}/{seed}/{at}", prompt, str(right), choices=numbers)


@hookimpl
def decodebench_tasks() -> Sequence[type[Task]]:
    """Return the family's own tasks."""
    return [TinyGsm, TinyChoice]


@hookimpl
def decodebench_models() -> Sequence[ModelSource]:
    """Return the trained family and the untrained models."""
    tiny = [
        ModelSource(
            "tiny:target",
            "Qwen3, 3.3 M parameters, trained on tiny-gsm: the target of the tiny drafts",
            path=WEIGHTS_FOLDER / "target",
            companions={"draft-target": "tiny:draft", "dflash": "tiny:dflash"},
            stand_ins={"fast-dllm": "tiny:block-diffusion"},
            task="tiny-gsm",
        ),
        ModelSource(
            "tiny:draft",
            "Qwen3, 0.5 M parameters, trained on tiny-gsm: a draft for tiny:target",
            path=WEIGHTS_FOLDER / "draft",
        ),
        ModelSource(
            "tiny:dflash",
            "DFlash draft, 1.8 M parameters: drafts blocks of up to 16 tokens for tiny:target",
            path=WEIGHTS_FOLDER / DFLASH,
        ),
        ModelSource(
            "tiny:block-diffusion",
            "Fast-dLLM v2, 3.3 M parameters, blocks of 16, made from tiny:target: several tokens per forward",
            path=WEIGHTS_FOLDER / "block-diffusion",
        ),
        ModelSource(
            "tiny:llada",
            "LLaDA, 4.4 M parameters, made from tiny:target: fills a canvas of masks in any order",
            path=WEIGHTS_FOLDER / "llada",
        ),
    ]
    return [*tiny, *map(_untrained, RANDOM_MODELS)]


def _untrained(name: str) -> ModelSource:
    drafts = {"dflash": f"{name}-{DFLASH}", "draft-target": f"{name}-draft"}
    companions = {backend: draft for backend, draft in drafts.items() if draft in RANDOM_MODELS}
    return ModelSource(name, RANDOM_MODELS[name].summary, build=partial(build, name), companions=companions)
