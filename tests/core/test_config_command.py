"""The user's config file read and changed by commands, and the help of a command by its name."""

from __future__ import annotations

import tomllib

import pytest

BEFORE = """\
# mine
[run]
rounds = 3  # enough
output = "there"

[servers.vllm]
url = "http://localhost:1"
"""


@pytest.fixture
def file(cli, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(BEFORE)
    return path


def test_the_file_is_named_whether_or_not_it_is_there(cli, tmp_path):
    assert cli("config", "path").out.strip() == str(tmp_path / "config.toml")
    assert cli("config", "get", "--json").json == {}


def test_values_are_read_by_key(cli, file):
    assert cli("config", "get", "run.rounds").out == "3\n"
    assert cli("config", "get", "servers.vllm.url", "--json").json == "http://localhost:1"
    assert cli("config", "get", "--json").json == tomllib.loads(BEFORE)
    assert cli("config", "get").out.splitlines()[0] == "run.rounds = 3"


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("run.rounds", 7, ["# mine", 'output = "there"']),
        ("run.wait-idle", True, ["rounds = 3  # enough", "[servers.vllm]"]),
        ("report.min-effect", 0.05, BEFORE.splitlines()),
        ("run.output", "some where", ["rounds = 3  # enough"]),
    ],
)
def test_one_value_is_set_and_the_rest_stays(cli, file, key, value, kept):
    told = str(value).lower() if isinstance(value, bool) else str(value)
    assert cli("config", "set", key, told).code == 0
    table, name = key.split(".")
    assert tomllib.loads(file.read_text())[table][name] == value
    assert set(kept) <= set(file.read_text().splitlines())


def test_a_first_value_makes_the_file(cli, tmp_path):
    other = {"DECODEBENCH_CONFIG": str(tmp_path / "deep" / "er" / "c.toml")}
    assert cli("config", "set", "run.rounds", 4, env=other).code == 0
    settings = {one["setting"]: one["value"] for one in cli("run", "--show-settings", "--json", env=other).json}
    assert settings["rounds"] == 4


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("run.ronds", 1, "'rounds'"),
        ("rnu.rounds", 1, "'run'"),
        ("run.rounds", "many", "run.rounds"),
        ("run.rounds", 0, "run.rounds"),
        ("rounds", 1, "TABLE.NAME"),
    ],
)
def test_what_no_command_would_read_is_refused(cli, file, key, value, word):
    ended = cli("config", "set", key, value)
    assert ended.code == 2 and word in ended.err
    assert file.read_text() == BEFORE


def test_help_is_that_of_the_command(cli):
    assert cli("help", "plugins", "new").out == cli("plugins", "new", "--help").out
    assert cli("help").out == cli("--help").out
    assert cli("help", "rnu").code == 2


def test_the_help_of_run_has_headings_and_examples(cli):
    text = cli("run", "--help").out
    headings = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:4] == ["Positional arguments", "What is measured", "Workload", "Requests under load"]
    assert headings[4:] == ["Chat", "Sampling", "Rounds", "Machine", "Output", "Options"]
    assert "decodebench run plan.toml --dry-run" in [line.strip() for line in text.splitlines()]
