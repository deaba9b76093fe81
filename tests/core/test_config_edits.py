"""``config set`` gives exactly the wanted change or says what to write; a wrong file can be mended."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.core.cli.guidance.toml_edit import literal, read_key, set_in

IN_TEXT = "[a]\nx = '''\n[run]\nrounds = 3\n'''\n"


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"),
    [
        ("[run]\nrounds = 3  # enough\n", "run.rounds", 7, "[run]\nrounds = 7  # enough\n"),
        ("[run]\nname = 'a # b' # c\n", "run.name", "#d", '[run]\nname = "#d" # c\n'),
        ("run.rounds = 3 # x\n", "run.rounds", 7, "run.rounds = 7 # x\n"),
        ("run = { rounds = 3 } # x", "run.rounds", 7, "run = { rounds = 7 } # x"),
        ("run = { rounds = 3 }\n", "run.name", "a", 'run = { rounds = 3, name = "a" }\n'),
        ("run.rounds = 3\n", "run.name", "a", 'run.name = "a"\nrun.rounds = 3\n'),
        ("[ backends . foo ]\npython = '/a'\n", "backends.foo.python", "/b", '[ backends . foo ]\npython = "/b"\n'),
        ("[run] # mine\r\nrounds = 3\r\n", "run.rounds", 7, "[run] # mine\r\nrounds = 7\r\n"),
        (f"{IN_TEXT}[run]\n", "run.rounds", 7, f"{IN_TEXT}[run]\nrounds = 7\n"),
        ("[a]\nx = nan", "run.rounds", 7, "[a]\nx = nan\n\n[run]\nrounds = 7\n"),
        ("", "run.rounds", 7, "[run]\nrounds = 7\n"),
        ("[run]\nrounds = [\n 3,\n]\n", "run.rounds", 7, None),
        ("run = 3\n", "run.rounds", 7, None),
        ("[[run]]\nrounds = 3\n", "run.rounds", 7, None),
    ],
)  # fmt: skip
def test_one_value_changes_and_nothing_else(text, key, value, expected):
    assert set_in(text, read_key(key), value) == expected


@given(st.text(st.characters(codec="utf-8")), st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3))
def test_any_text_is_written_so_that_it_is_read_again(value, path):
    made = set_in("[other]\nx = 1 # kept\n", path, value) if path[0] != "other" else None
    if made is not None:
        found = tomllib.loads(made)
        assert found.pop("other") == {"x": 1} and "x = 1 # kept" in made
        assert tomllib.loads(f"a = {literal(value)}") == {"a": value}


def configured(cli, text):
    from pathlib import Path

    Path(cli.environment["DECODEBENCH_CONFIG"]).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Path(cli.environment["DECODEBENCH_CONFIG"])


@pytest.mark.parametrize("first", ["wait-idle", "wait_idle"])
def test_a_key_is_the_same_with_dash_and_underscore(cli, first):
    file = configured(cli, f"[run]\n{first} = false  # quiet\n")
    for key in ("run.wait-idle", "run.wait_idle"):
        assert cli("config", "set", key, "true").code == 0
        assert cli("config", "get", key).out == "true\n"
    assert file.read_text() == f"[run]\n{first} = true  # quiet\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("run.rounds", value) for value in ("3.5", "true", "1e999", "nan", "[3]", "2026-01-01")),
        *(("run.timeout", value) for value in ("1e999", "true", "soon")),
        *(("run.wait-idle", value) for value in ("1", "0.5", "[true]")),
        *(("run.name", value) for value in ("true", "[1]")),
        *((key, "1") for key in ("run.foo.bar", "backends.foo.pyhton", "backends.foo.python", "nothing.x", "run.")),
        ("a=1\nb.c", "1"),
        ("plugins.files", "3"),
        ("run.name", "\udcff"),
    ],
)  # fmt: skip
def test_what_a_flag_does_not_take_is_refused_and_nothing_is_written(cli, key, value):
    file = configured(cli, "[run]\nseed = 1\n")
    ended = cli("config", "set", key, value)
    assert ended.code == 2 and "Traceback" not in ended.err
    assert file.read_text() == "[run]\nseed = 1\n"


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("run.backends", "transformers", ["transformers"]),
        ("plugins.files", "~/mine.py", ["~/mine.py"]),
        ("plugins.files", '["a.py", "b.py"]', ["a.py", "b.py"]),
        ("run.name", "a\tb\x7f", "a\tb\x7f"),
        ("run.timeout", "30", 30),
    ],
)
def test_what_it_takes_is_stored_in_its_form(cli, key, value, stored):
    file = configured(cli, "")
    assert cli("config", "set", key, value).code == 0
    table, name = key.split(".")
    assert tomllib.loads(file.read_text())[table][name] == stored


@pytest.mark.parametrize(
    "text",
    ["[run]\nrounds = 3.5\n", "[run]\nrounds = true\n", "[run]\nronds = 3\n", "[run]\nwait_idle=true\nwait-idle=true",
     "[[run]]\nrounds = 3\n", "run = 3\n", "[rnu]\n", "[run\n", b"[run]\nname = '\xff'\n", "[run]\nrounds = 1e999\n"],
)  # fmt: skip
def test_a_broken_file_is_refused_and_can_be_mended(cli, text):
    file = configured(cli, text)
    refused = cli("run", "--show-settings")
    assert refused.code == 2 and str(file) in refused.err and "did you mean 'run'?; " not in refused.err
    assert cli("config", "path").out.strip() == str(file)
    for words in (("help",), ("help", "run"), ("run", "--help"), ("completion", "bash")):
        assert cli(*words).code == 0
    ended = cli("config", "set", "run.rounds", "3")
    assert ended.code in (0, 2) and "Traceback" not in ended.err


def test_a_wrong_value_is_mended_by_setting_it(cli):
    file = configured(cli, "[run]\nrounds = 3.5  # wrong\n")
    assert cli("config", "set", "run.rounds", "4").code == 0
    assert file.read_text() == "[run]\nrounds = 4  # wrong\n"


def test_a_list_of_tables_is_not_said_to_be_unknown(cli):
    configured(cli, "[[run]]\nrounds = 3\n")
    assert "must be one table: write [run]" in cli("run", "--show-settings").err


def test_where_no_edit_does_the_line_to_write_is_said(cli):
    file = configured(cli, "[plugins]\nfiles = [\n  'a.py',\n]\n")
    ended = cli("config", "set", "plugins.files", "b.py")
    assert ended.code == 2 and 'files = ["b.py"]' in ended.err and "[plugins]" in ended.err
    assert "a.py" in file.read_text()
