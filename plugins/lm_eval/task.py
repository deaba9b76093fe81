"""The task `lm-eval:TASK`: prompts, choices, filters and metrics of a task of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from ...core.contract.task import Likelihood, Score, Task, TaskSample

if TYPE_CHECKING:
    from .problems import Problems


class LmEvalTask(Task):
    """A task of the harness under its own name, such as ``lm-eval:arc_easy``, or a YAML file of one.

    Further settings stand behind commas: ``lm-eval:arc_easy,num_fewshot=5`` and
    ``lm-eval:my_task,include_path=FOLDER``.
    """

    name = "lm-eval"
    version = "of the task"
    summary: ClassVar[str] = "a task of lm-evaluation-harness, scored as it scores it"
    argument: ClassVar[str | None] = "TASK"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self._argument = argument or ""
        self.version = self._problems.version
        self.stop, self.max_new_tokens = self._problems.stop, self._problems.max_new_tokens

    @cached_property
    def _problems(self) -> Problems:
        from .problems import load

        return load(self._argument)

    def samples(self, n: int, seed: int) -> Iterator[TaskSample]:
        """Yield the first ``n`` problems in the harness's order, of a group in turn from each of its tasks.

        The seed chooses nothing: examples before a problem are drawn with the harness's own seed, so that its numbers
        are reproduced.
        """
        return self._problems.samples(n)

    def score(self, sample: TaskSample, text: str) -> Score:
        """Score a generated text with the task's filters and metrics."""
        return self._problems.score(sample.id, [text])

    def score_choices(self, sample: TaskSample, likelihoods: Sequence[Likelihood]) -> Score:
        """Score the log-probabilities of the choices with the task's filters and metrics."""
        return self._problems.score(sample.id, [(one.logprob, one.is_greedy) for one in likelihoods])
