"""What other programs print into a page costs nothing that is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decodebench.collate.parsers.foreign import recognise
from decodebench.core.isolation.plugins import all_plugins

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers


def content(path):
    """Return what is read of a file, places apart."""
    return [
        (name, record.model_dump(exclude={"run_id", "source_line"}))
        for name in recognise(path, PARSERS)
        for record in PARSERS[name]().read(path)
    ]


@pytest.mark.parametrize("name", ["qwen38_mtp.md", "spec_bench_board.md"])
@pytest.mark.parametrize(
    "line",
    [
        "llama_context: n_batch = 2048",
        "slot print_timing: id  0 | task 7 | n_decoded = 100",
        "srv  log_server_r: request: POST /v1/chat/completions 127.0.0.1 200",
        "warning | the | cache | is | cold | again | now | and | then",
        "",
    ],
)
def test_rows_between_lines_of_other_programs_are_rows(tmp_path, name, line):
    text = (DATA / "published" / name).read_text()
    file = tmp_path / name
    file.write_text(re.sub(r"(?<=\|)\n(?=\| *[A-Z0-9n*\[][^-])", f"\n{line}\n", text))
    assert file.read_text().count(line) > text.count(line)
    assert content(file) == content(DATA / "published" / name)


def test_a_table_whose_rule_is_lost_is_not_read_by_the_columns_of_the_one_above(tmp_path):
    text = (DATA / "published" / "qwen38_mtp.md").read_text()
    file = tmp_path / "page.md"
    head = "| Card | Baseline | With flag | n-max | Acceptance | Contributor |\n" + "|---" * 6 + "|\n"
    row = "| RTX 3090 24GB | 31.0 | 41.3 | 2 | 0.78 | a |\n"
    lost = "By position:\n\n| way | first | second | third | fourth | by |\n| RTX 1 | 0.9 | 2 | 3 | 4 | me |\n"
    file.write_text(f"{text}\n{head}{row}{lost}")
    assert len(content(file)) == len(content(DATA / "published" / "qwen38_mtp.md")) + 2
