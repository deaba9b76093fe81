"""Text from outside is safe where it goes, and says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench import csv_cell, own_path_part, printable
from decodebench.core.foreign_text import path_part, printable_json

NAMES = [
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".hidden",
    "a/b",
    "a\\b",
    "a\0b",
    "\n",
    "模型",
    "x" * 5000,
    "a\x1b[2Jb",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_a_path_stays_in_its_folder(tmp_path, name):
    for part in (path_part(name), own_path_part(name)):
        file = tmp_path / part
        file.write_text("x")
        assert file.resolve().parent == tmp_path.resolve() and not part.startswith((".", "-")) and len(part) < 100
        file.unlink()


def test_texts_that_differ_have_parts_that_differ():
    assert len({own_path_part(name) for name in NAMES}) == len(NAMES)
    assert own_path_part("exp_1.2-b") == path_part("exp_1.2-b") == "exp_1.2-b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 模型 😀 👨‍👩‍👧\n\ttab", "plain äöü 模型 😀 👨‍👩‍👧\n\ttab"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08", r"a\rb\x08"),
        ("\u202egnp\u2066", r"\u202egnp\u2066"),
        ("\udc80", r"\udc80"),
    ],
)
def test_a_terminal_shows_what_it_would_obey(text, shown):
    assert printable(text) == shown and printable(shown) == shown
    assert json.loads(printable_json(json.dumps({text: [text]}, ensure_ascii=False))) == {text: [text]}


RUN = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  \n =1", "＝1+1", "＋1", "－1", "＠x",
    "\u200b=1", "\ufeff=1", "\n",
]  # fmt: skip
KEPT = ["", "a=1", "1-1", "x@y", "模型", "'=1", 1, -1.5, None, True]


@pytest.mark.parametrize("value", RUN)
def test_a_spreadsheet_runs_no_cell(value):
    assert csv_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", KEPT)
def test_other_cells_stay_as_they_are(value):
    assert csv_cell(value) is value


def test_every_csv_goes_through_it():
    """A writer of rows that a plugin or an exporter adds is found here."""
    root = Path(__file__).parents[2]
    files = [file for folder in ("core", "collate", "viz", "plugins") for file in (root / folder).rglob("*.py")]
    writers = [file for file in files if "csv.writer(" in file.read_text() or "DictWriter(" in file.read_text()]
    assert writers and not [file.name for file in writers if "csv_cell" not in file.read_text()]
