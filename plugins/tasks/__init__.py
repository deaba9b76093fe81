"""The plugin `tasks`: published benchmarks and files of the user's own, each with its scorer."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.hookspecs import hookimpl
from ...core.contract.task import Task
from .aime25 import Aime25
from .conversations import Conversations
from .file import FileTask
from .gpqa import Gpqa
from .gsm8k import Gsm8k, Gsm8k8Shot
from .humaneval import HumanEval
from .math500 import Math500
from .mbpp import Mbpp
from .mmlu import Mmlu
from .mt_bench import MtBench

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_tasks() -> Sequence[type[Task]]:
    """Return the tasks."""
    return [Gsm8k, Gsm8k8Shot, Aime25, Math500, Mmlu, Gpqa, HumanEval, Mbpp, MtBench, FileTask, Conversations]
