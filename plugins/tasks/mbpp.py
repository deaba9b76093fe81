"""MBPP: short Python programs from a sentence (J. Austin et al., "Program Synthesis with Large Language Models")."""

from __future__ import annotations

import ast
import warnings

from ...core.contract.task import TaskSample
from .code_task import CodeTask
from .hub import HubData
from .rows import Row, listed
from .sandbox import Checks
from .scoring.code import code_blocks, cut_at

_SHOTS = 3
_BEGIN, _DONE = "[BEGIN]", "[DONE]"


class Mbpp(CodeTask):
    """The test problems behind the first three of the prompt split, as the paper shows them, tests included."""

    name = "mbpp"
    version = "2"
    summary = "MBPP: Python programs from a sentence and three tests, 3-shot; share that passes, pass@k with --attempts"
    template = (
        "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\\n\\n"
        "{test_list}\\n[BEGIN]\\n{code}\\n[DONE], three times from the prompt split, then the problem"
    )
    extraction = "the first fenced block, else the text before [DONE]; run with the problem's tests"
    data = HubData("mbpp", "google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c", "full")
    source = data.url
    columns = ("task_id", "text", "code", "test_list")
    example_split = "prompt"
    stop = (_DONE,)
    max_new_tokens = 512

    def identity(self, at: int) -> str:
        """Use the data set's own number."""
        return str(self.rows[at]["task_id"])

    def sample(self, name: str, row: Row) -> TaskSample:
        """Put the worked examples before the problem; its tests travel with it."""
        shots = "".join(f"{_asked(shot)}{_lines(shot['code'])}\n{_DONE}\n\n" for shot in self.examples[:_SHOTS])
        tests = listed(row, "test_list")
        asked = f"{_task(row)}\n\nAnswer with the program alone, in one code block."
        data = {"tests": "\n".join(tests), "setup": row.get("test_setup_code") or "", "code": _lines(row["code"])}
        return TaskSample(name, shots + _asked(row), data["tests"], (("user", asked),), data=data)

    def program(self, sample: TaskSample, text: str) -> tuple[str, Checks]:
        """Give the answer and, with the set-up, the tests of what the reference defines as well."""
        blocks = code_blocks(text)
        answer = blocks[0] if blocks else cut_at(text, (_DONE,))
        tests = f"{sample.data['setup']}\n{sample.data['tests']}\n"
        return answer, Checks(tests, *_defined(str(sample.data["code"])))


def _defined(code: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the functions and the classes that a reference solution defines; none where Python cannot read it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python no longer likes
            body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return (), ()
    functions = (node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return tuple(functions), tuple(node.name for node in body if isinstance(node, ast.ClassDef))


def _task(row: Row) -> str:
    tests = "\n".join(listed(row, "test_list"))
    return (
        f"You are an expert Python programmer, and here is your task: {row['text'].strip()} "
        f"Your code should pass these tests:\n\n{tests}"
    )


def _asked(row: Row) -> str:
    return f"{_task(row)}\n{_BEGIN}\n"


def _lines(code: str) -> str:
    return code.replace("\r\n", "\n").strip()
