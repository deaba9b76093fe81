"""HumanEval: 164 functions to complete (M. Chen et al., "Evaluating Large Language Models Trained on Code", 2021)."""

from __future__ import annotations

import re

from ...core.contract.task import TaskSample
from .code_task import CodeTask
from .hub import HubData
from .rows import Row
from .sandbox import Checks
from .scoring.code import code_blocks, cut_at

# What follows a function at the left margin is no part of it.
_ENDS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```")


class HumanEval(CodeTask):
    """Signature and docstring are the prompt; the body is run with the problem's tests."""

    name = "humaneval"
    version = "2"
    summary = "HumanEval: Python functions from their docstrings; share that passes the tests, pass@k with --attempts"
    template = (
        "{prompt}: a signature with its docstring, continued, without the line end behind it; in a chat, a request to "
        "complete it"
    )
    extraction = (
        "the first fenced block with the function, else prompt and continuation up to the first line at the left "
        "margin; run with check({entry_point})"
    )
    data = HubData("humaneval", "openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544")
    source = data.url
    columns = ("task_id", "prompt", "test", "entry_point")
    stop = _ENDS
    max_new_tokens = 512

    def identity(self, at: int) -> str:
        """Use the number in the data set's own name, such as 17 of ``HumanEval/17``."""
        return str(self.rows[at]["task_id"]).rsplit("/", 1)[-1]

    def sample(self, name: str, row: Row) -> TaskSample:
        """Give the function to complete; the tests travel with it."""
        # A line end at the end of a prompt is half of what models know as one token with the indentation behind it:
        # base models go on with an empty line and another definition, at which a stop string ends the answer.
        prompt = row["prompt"].rstrip()
        asked = f"Complete this function. Answer with the whole function in one code block.\n\n```python\n{prompt}\n```"
        data = {"test": row["test"], "entry_point": row["entry_point"]}
        return TaskSample(name, prompt, row["entry_point"], (("user", asked),), data=data)

    def program(self, sample: TaskSample, text: str) -> tuple[str, Checks]:
        """Put prompt and answer together; the tests get the prompt's own imports and functions, not the answer's."""
        entry = str(sample.data["entry_point"])
        head = _head(sample.prompt, entry)
        whole = re.compile(rf"^[ \t]*(?:async )?def {re.escape(entry)}\b", re.MULTILINE)
        blocks = code_blocks(text)
        answer = next((f"{head}{block}" for block in blocks if whole.search(block)), None)
        if answer is None:
            body = cut_at(blocks[0] if blocks else text, _ENDS)
            answer = sample.prompt + ("\n" if blocks or body[:1].isspace() else "") + body
        return answer, Checks(f"{head}\n\n{sample.data['test']}\n\ncheck({entry})\n", (entry,))


def _head(prompt: str, entry: str) -> str:
    """Return what stands before the function in the prompt: imports, and functions that it may call."""
    found = re.search(rf"^def {re.escape(entry)}\b", prompt, re.MULTILINE)
    return prompt[: found.start()] if found else ""
