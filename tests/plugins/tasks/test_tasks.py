"""The tasks on small samples of their data sets: prompts, references, versions, and what happens without data."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from decodebench import Score, UsageError
from decodebench.core.host.registry import Registry
from decodebench.plugins.tasks import decodebench_tasks, hub
from decodebench.plugins.tasks.hub import HubData

NAMES = ["gsm8k", "gsm8k-8shot", "aime25", "math500", "mmlu", "gpqa", "humaneval", "mbpp", "mt-bench"]


@pytest.fixture(scope="module")
def registry():
    return Registry(only=["tasks"])


@pytest.fixture
def task(registry, data_by_hand):
    return registry.task


def by_id(task):
    return {sample.id: sample for sample in task.samples(10**6, 0)}


@pytest.mark.parametrize("name", NAMES)
def test_problems_are_seeded_and_stay_the_same(task, name):
    one, other = task(name), task(name)
    assert one.version == other.version and one.version.startswith(f"{type(one).version}+")
    every = list(one.samples(10**6, 5))
    assert every == list(other.samples(10**6, 5)) and every[:2] == list(other.samples(2, 5))
    assert len({sample.id for sample in every}) == len(every) == len(one.rows)
    assert all(sample.id.startswith(f"{name}/") and sample.prompt and sample.messages for sample in every)
    orders = {tuple(sample.id for sample in one.samples(10**6, seed)) for seed in range(12)}
    assert len(orders) > 1 and {frozenset(order) for order in orders} == {frozenset(by_id(one))}


def test_every_task_says_what_it_is():
    for task in decodebench_tasks():
        assert task.summary and task.template and task.extraction and task.source
        assert task.version == ("2" if task.executes_code else "1")


@pytest.mark.parametrize(
    "task", [task for task in decodebench_tasks() if task.argument is None], ids=lambda task: task.name
)
def test_every_data_set_is_pinned_to_a_commit(task):
    assert len(task.data.revision) == 40 and int(task.data.revision, 16)
    assert task.source == f"https://huggingface.co/datasets/{task.data.dataset}/tree/{task.data.revision}"


def test_gsm8k_asks_for_steps_and_knows_the_number(task):
    sample = by_id(task("gsm8k"))["gsm8k/1"]
    assert sample.prompt.endswith("two weeks cost in dollars?\nAnswer: Let's think step by step.")
    assert sample.reference == "2500" and "####" in sample.messages[0][1]
    gsm8k = task("gsm8k")
    assert gsm8k.score(sample, " They cost $2,500.00.\n#### 2,500\nQuestion: 7?") == Score(1.0, "2500")
    assert gsm8k.score(sample, " 2501") == Score(0.0, "2501")
    assert gsm8k.score(sample, " no idea") == Score(0.0, None)


def test_eight_examples_stand_before_the_question_without_calculator_marks(task):
    sample = by_id(task("gsm8k-8shot"))["gsm8k-8shot/0"]
    assert sample.prompt.count("Question: ") == 9 and sample.prompt.count("#### ") == 8
    assert "<<" not in sample.prompt and sample.prompt.endswith("does she keep?\nAnswer:")
    assert sample.prompt.startswith("Question: Nina has 7 pens and buys 2 more.")


def test_competition_problems_ask_for_a_box(task):
    aime, math500 = task("aime25"), task("math500")
    sample = by_id(aime)["aime25/1"]
    assert "\\boxed{}" in sample.prompt and sample.reference == "72"
    assert aime.score(sample, r"so $3n = \boxed{072}$") == Score(1.0, "72")
    assert "\\boxed{}" in by_id(math500)["math500/0"].prompt
    assert math500.score(by_id(math500)["math500/1"], r"\boxed{\sqrt{50}}").value == 1.0


def test_mmlu_shows_five_questions_of_the_subject_with_their_letters(task):
    sample = by_id(task("mmlu"))["mmlu/3"]
    assert sample.prompt.startswith(
        "The following are multiple choice questions (with answers) about high school geography.\n\n"
    )
    assert sample.prompt.count("Answer:") == 6 and sample.prompt.count("Answer: C\n\n") == 5
    assert sample.prompt.endswith("A. Rhine\nB. Volga\nC. Amazon\nD. Nile\nAnswer:")
    assert sample.choices == (" A", " B", " C", " D") and sample.reference == "D"


def test_gpqa_shuffles_its_answers_the_same_way_each_time(task):
    found = {sample.id: sample for sample in task("gpqa").samples(9, 1)}
    assert found == {sample.id: sample for sample in task("gpqa").samples(9, 2)}
    for sample, right in (
        (found["gpqa/0"], "DNA"),
        (found["gpqa/1"], "The strong force"),
        (found["gpqa/2"], "Covalent"),
    ):
        assert f"\n{sample.reference}. {right}\n" in sample.prompt
    assert len({sample.reference for sample in found.values()}) > 1


def test_mt_bench_gives_first_turns_and_scores_nothing(task):
    bench = task("mt-bench")
    sample = by_id(bench)["mt-bench/22222222"]
    assert bench.metric is None and bench.score(sample, "80 km/h") is None
    assert sample.messages == (("user", "A train goes 60 km in 45 minutes. How fast is it?"),)


def test_humaneval_keeps_answers_and_tests_apart(task):
    humaneval = task("humaneval")
    add_all, evens = by_id(humaneval)["humaneval/0"], by_id(humaneval)["humaneval/2"]
    assert add_all.prompt.startswith("from typing import List") and humaneval.executes_code
    bare, tests = humaneval.program(add_all, "    return sum(numbers)\n\n\nprint(add_all([1]))\n")
    assert "return sum(numbers)\n" in bare and "print(" not in bare and "assert" not in bare
    assert tests.source.startswith("from typing import List") and tests.source.endswith("check(add_all)\n")
    assert tests.functions == ("add_all",)
    block, _ = humaneval.program(
        add_all, "Sure:\n```python\ndef add_all(numbers: List[int]) -> int:\n    return 6\n```\nDone."
    )
    assert block.startswith("from typing import List") and "Sure" not in block and block.count("def add_all") == 1
    helped, tests = humaneval.program(evens, "```python\ndef evens(n):\n    return n\n```")
    assert "def is_even" in helped and "def is_even" in tests.source and "def evens" not in tests.source
    inner, _ = humaneval.program(add_all, "```python\n    return sum(numbers)\n```")
    assert inner.count("def add_all") == 1 and "```" not in inner


def test_mbpp_shows_tests_and_three_examples(task):
    mbpp = task("mbpp")
    sample = by_id(mbpp)["mbpp/13"]
    assert sample.prompt.count("[BEGIN]") == 4 and sample.prompt.count("[DONE]") == 3 and "\r" not in sample.prompt
    assert sample.prompt.endswith("assert close(root(1), 1)\n[BEGIN]\n")
    program, tests = mbpp.program(sample, "import math\ndef root(n):\n  return math.isqrt(n)\n[DONE]\nmore")
    assert "def root(" in program and "more" not in program and "close" not in program
    assert "def close(" in tests.source and tests.source.endswith("assert close(root(1), 1)\n")
    assert tests.functions == ("root",) and tests.classes == ()


@pytest.mark.parametrize("name", NAMES)
def test_parquet_and_csv_hold_the_same_problems(registry, data_by_hand, tmp_path, monkeypatch, name):
    import duckdb

    of_jsonl = registry.task(name)
    folder = tmp_path / of_jsonl.data.folder
    folder.mkdir()
    for file in (data_by_hand / of_jsonl.data.folder).iterdir():
        with duckdb.connect() as connection:  # the one that all share may have work of another test
            connection.execute(f"COPY (FROM read_json('{file}')) TO '{folder / file.stem}.parquet'")
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    of_parquet = registry.task(name)
    assert [s.prompt for s in of_parquet.samples(99, 1)] == [s.prompt for s in of_jsonl.samples(99, 1)]
    for file in (data_by_hand / of_jsonl.data.folder).iterdir():
        (folder / f"{file.stem}.parquet").unlink()
        _as_csv(file, folder / f"{file.stem}.csv")
    assert [s.prompt for s in registry.task(name).samples(99, 1)] == [s.prompt for s in of_jsonl.samples(99, 1)]


def _as_csv(file, target):
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    with target.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})


def test_other_data_are_another_version(registry, data_by_hand, tmp_path, monkeypatch):
    before = registry.task("gsm8k").version
    shutil.copytree(data_by_hand / "gsm8k", tmp_path / "gsm8k")
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    assert registry.task("gsm8k").version == before
    file = tmp_path / "gsm8k" / "test.jsonl"
    file.write_text(file.read_text().replace("3 trays", "4 trays"))
    assert registry.task("gsm8k").version != before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"question": "a"}\n', ["test.jsonl:1", "no column 'answer'", "this row has: question"]),
        ('{"question": "a", "answer": "#### 1"}\n{"question": "b"\n', ["test.jsonl:2", "not JSON"]),
        ('{"question": "a", "answer": "#### 1"}\n[]\n', ["test.jsonl:2", "not a JSON object"]),
        ("", ["test.jsonl", "no row"]),
        (b"\xff\xfe", ["test.jsonl", "not UTF-8"]),
        ('{"question": 7, "answer": "#### 1"}\n', ["'gsm8k'", "row 1 of gsm8k/test", "openai/gsm8k"]),
    ],
)
def test_damaged_files_are_named_with_line_and_column(registry, tmp_path, monkeypatch, content, words):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    (tmp_path / "gsm8k").mkdir()
    file = tmp_path / "gsm8k" / "test.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as error:
        list(registry.task("gsm8k").samples(9, 1))
    assert all(word in str(error.value) for word in words), error.value


def test_a_file_that_only_looks_like_parquet_is_refused(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.parquet").write_text("no")
    with pytest.raises(UsageError, match="not a Parquet file"):
        registry.task("gsm8k")


def test_without_network_the_error_says_what_may_be_placed_where(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError) as error:
        registry.task("mmlu")
    text = str(error.value)
    assert "cannot get cais/mmlu (test)" in text and str(tmp_path / "mmlu" / "test.jsonl") in text
    assert ".parquet" in text and "columns question, subject, choices, answer" in text


def test_a_host_that_cannot_be_found_is_not_asked_again_and_again(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    begin = time.perf_counter()
    with pytest.raises(UsageError, match=r"hub\.invalid cannot be found"):
        registry.task("gsm8k")
    assert time.perf_counter() - begin < 20


def test_a_gated_data_set_says_how_to_be_let_in(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(hub, "_has_token", lambda: False)
    with pytest.raises(UsageError) as error:
        registry.task("gpqa")
    text = str(error.value)
    assert "gated and there is no token" in text and "https://huggingface.co/datasets/Idavidrein/gpqa" in text
    assert "hf auth login" in text and str(tmp_path / "gpqa" / "train.jsonl") in text and "Correct Answer" in text


def test_without_the_library_the_error_says_how_to_install_it(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"`datasets` is not installed; pip install 'decodebench\[tasks\]'"):
        registry.task("gsm8k")


@pytest.mark.filterwarnings("ignore")  # of the library's own
def test_the_real_library_fetches_once_and_is_not_asked_again(data_by_hand, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "repository"
    shutil.copytree(data_by_hand / "mmlu", repository)
    data = HubData("mmlu", str(repository), "0" * 40)
    columns = ("question", "subject", "choices", "answer")
    rows = data.rows("test", columns)
    assert len(rows) == 4 and rows[0]["choices"] == ["Venus", "Mercury", "Mars", "Earth"]
    shutil.rmtree(repository)
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    assert data.rows("test", columns) == rows
    (kept,) = (tmp_path / "data" / "hub").rglob("test.jsonl")
    assert kept.parent.parent.name == "0" * 40
    with pytest.raises(UsageError, match="no column 'nothing'"):
        data.rows("test", ("nothing",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("DECODEBENCH_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="DECODEBENCH_DATA names another folder"):
        HubData("x", "a/b", "0" * 40)._keep(tmp_path / "hub" / "x.jsonl", [])


def test_the_page_tells_every_task_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    table = page.split("## Sources of the problems")[0]
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    for task in decodebench_tasks():
        if task.argument is not None:  # a file of the user's own
            continue
        assert task.data.revision in page and f"https://huggingface.co/datasets/{task.data.dataset}" in page
        assert all(f"`{column}`" in page or column.startswith("Incorrect") for column in task.columns)
        assert task.max_new_tokens is None or f"| {task.max_new_tokens} |" in rows[task.name]
        assert all(repr(stop)[1:-1] in rows[task.name] for stop in task.stop if task.name != "humaneval")
        assert f"`{task.data.folder}/{task.split}`" in page
