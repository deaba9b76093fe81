"""Real tasks on a real model: problems of HumanEval, and of GSM8K's format placed by hand, with their intervals."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from decodebench.plugins.reference.problems import held_out_problems

from .conftest import PROMPTS, TOKENS

PROBLEMS, LIMIT = 4 * PROMPTS, 2 * TOKENS
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama.cpp is missing"),
]


@pytest.fixture
def measured(cli, tmp_path, smollm2):
    """Measure SmolLM2 as it was published on the rows of a task, which are placed by hand; return what is compared."""

    def run(task, rows, *words):
        file = Path(cli.environment["DECODEBENCH_DATA"]) / task / "test.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        limit = ("--samples", PROBLEMS, "--warmup", 0, "--rounds", 1, "--max-new-tokens", LIMIT, "--timeout", 1500)
        chosen = ("-b", "llama-cpp", "-m", smollm2, "--chat", "--task", task)
        ended = cli("run", *chosen, *limit, *words, "-o", tmp_path / "out", "--json", timeout=1700)
        assert ended.code == 0, ended.err
        (row,) = ended.json["comparison"]["rows"]
        return row

    return run


def test_humaneval_completes_with_an_interval(measured, humaneval):
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap, in which answers are run, is missing")
    _is_whole(measured("humaneval", humaneval, "--allow-code-execution")["accuracy"]["value"])


def test_problems_placed_by_hand_complete_with_an_interval(measured):
    problems = islice(held_out_problems(3), PROBLEMS)
    rows = [{"question": each.question, "answer": each.solution} for each in problems]
    _is_whole(measured("gsm8k", rows)["accuracy"]["value"])


def _is_whole(share):
    assert share["n"] == PROBLEMS and 0 <= share["low"] <= share["value"] <= share["high"] <= 1
    assert share["low"] < share["high"]
    print(f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}] of {share['n']}")
