"""`file:PATH`: problems of the user's own, columns that can be named, and errors that say where."""

from __future__ import annotations

import json

import pytest

from decodebench import UsageError
from decodebench.core.host.registry import Registry

ROWS = [
    {"question": "2+2?", "answer": "4", "options": ["3", "4"], "right": "B"},
    {"question": "5-7?", "answer": "-2", "options": ["-2", "2"], "right": "A"},
    {"question": "6*9?", "answer": "54", "options": ["42", "54"], "right": "1"},
]


@pytest.fixture
def task():
    return Registry(only=["tasks"]).task


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_columns_are_named_and_answers_scored(task, file):
    found = task(f"file:{file}?prompt=question&reference=answer")
    samples = {sample.id: sample for sample in found.samples(9, 1)}
    assert set(samples) == {"problems.jsonl/1", "problems.jsonl/2", "problems.jsonl/3"}
    assert samples["problems.jsonl/2"].prompt == "5-7?"
    assert found.score(samples["problems.jsonl/2"], "it is \u22122 degrees").value == 1.0
    assert found.name == f"file:{file}?prompt=question&reference=answer"


@pytest.mark.parametrize(
    ("scorer", "text", "score"),
    [("number", "so 4.0", 1.0), ("integer", r"\boxed{04}", 1.0), ("math", r"\boxed{\frac{8}{2}}", 1.0),
     ("exact", " 4\n", 1.0), ("exact", "four", 0.0)],
)  # fmt: skip
def test_every_scorer(task, file, scorer, text, score):
    found = task(f"file:{file}?prompt=question&reference=answer&scorer={scorer}")
    found.check()
    sample = next(sample for sample in found.samples(9, 1) if sample.reference == "4")
    assert found.score(sample, text).value == score


def test_choices_are_handed_on(task, file):
    found = task(f"file:{file}?prompt=question&choices=options&reference=right&scorer=choice")
    samples = {sample.prompt: sample for sample in found.samples(9, 1)}
    assert samples["2+2?"].choices == ("3", "4") and samples["2+2?"].reference == "B"


def test_prompts_for_speed_need_no_reference(task, file):
    found = task(f"file:{file}?prompt=question&scorer=none")
    assert found.score(next(found.samples(1, 1)), "anything") is None


def test_the_content_is_the_version(task, file):
    settings = "?prompt=question&reference=answer"
    before = task(f"file:{file}{settings}").version
    assert before.startswith("1+") and task(f"file:{file}{settings}").version == before
    file.write_text(file.read_text().replace("2+2", "1+3"))
    assert task(f"file:{file}{settings}").version != before


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", ["needs a path"]),
        ("{file}.none", ["no file", ".parquet"]),
        ("{file}?promt=question", ["unknown setting 'promt' of task 'file'; did you mean 'prompt'?"]),
        ("{file}?prompt=question&scorer=numer", ["unknown scorer 'numer'; did you mean 'number'?"]),
        ("{file}?prompt", ["prompt=..."]),
        ("{file}?prompt=", ["prompt is empty"]),
        ("{file}", ["problems.jsonl:1", "no column 'prompt'", "question, answer, options, right"]),
        ("{file}?prompt=question", ["problems.jsonl:1", "no column 'reference'"]),
        ("{file}?prompt=options&reference=answer", ["problems.jsonl:", "column 'options'"]),
        ("{file}?prompt=question&reference=right&scorer=integer", ["column 'right'", "not an integer"]),
        ("{file}?prompt=question&reference=right&choices=answer&scorer=choice", ["column 'answer' holds no list"]),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_column(task, file, argument, words):
    with pytest.raises(UsageError) as error:
        list(task(f"file:{argument.format(file=file)}").samples(9, 1))
    assert all(word in str(error.value) for word in words), error.value


def test_a_name_that_tells_no_format_is_refused(task, tmp_path):
    path = tmp_path / "problems.txt"
    path.write_text("x")
    with pytest.raises(UsageError, match=r"must end in \.jsonl, \.parquet, \.csv"):
        task(f"file:{path}")


def test_the_command_line_needs_a_path(cli):
    ended = cli("run", "-b", "faulty", "-m", "tiny:draft", "--task", "file")
    assert ended.code == 2 and "write file:PATH" in ended.err
