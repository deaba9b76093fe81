"""The command line as a user meets it: what it imports, what it refuses, and how it words that."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

from decodebench.core.cli.output import print_table

HEAVY = ("torch", "matplotlib", "duckdb", "llama_cpp", "transformers", "scipy", "gguf")
RUN = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm"]


@pytest.mark.parametrize(
    ("arguments", "also_not"),
    [(["--help"], ("pydantic", "rich", "pluggy", "numpy")), (["run", "--help"], ()), (["backends"], ("tokenizers",))],
)
def test_listing_and_help_import_nothing_heavy(cli, arguments, also_not):
    code = (
        "import sys; from decodebench.core.cli import main; code = main._run();"
        f"print([m for m in {(*HEAVY, *also_not)!r} if m in sys.modules], file=sys.stderr)"
    )
    cli("--help")  # the first one of a new set of plugins asks all of them for their commands
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=cli.environment, check=True
    )
    assert ended.stderr.strip().splitlines()[-1] == "[]"


def test_every_command_has_the_help_that_the_overview_promises(cli):
    overview = cli("--help").out
    commands = re.findall(r"^  (\w+)  +(.+)$", overview.split("Commands:")[1], re.MULTILINE)
    assert len(commands) >= 17
    for name, promise in commands:
        own = " ".join(cli(name, "--help").out.split())
        assert promise.rstrip(".")[:40] in own, name


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["runn"], "unknown-name", ["runn", "'run'"]),
        (["run"], "nothing-to-measure", ["-b BACKEND"]),
        (["run", "-b", "lama-cpp", "-m", "tiny:draft"], "unknown-name", ["'lama-cpp'", "'llama-cpp'"]),
        (["run", "-b", "faulty", "-m", "tiny:drat", "--task", "tiny-gsm"], "unknown-name", ["'tiny:draft'"]),
        (["run", "-b", "faulty", "-m", "./nowhere", "--task", "tiny-gsm"], "model-not-found", ["'./nowhere'"]),
        (["run", "-b", "faulty", "-m", "nobody/nothing", "--task", "tiny-gsm"], "model-not-found", ["nobody/nothing"]),
        (["run", "-b", "faulty", "-m", "tiny:draft"], "no-workload", ["--task", "--prompt-tokens"]),
        (["run", "-b", "faulty", "--task", "tiny-gsm"], "no-model", ["-m MODEL"]),
        ([*RUN[:-1], "tiny-gms"], "unknown-name", ["'tiny-gms'", "'tiny-gsm'"]),
        ([*RUN, "-q", "f23"], "unknown-name", ["'f23'", "'f32'"]),
        ([*RUN, "--set", "falt=none"], "unknown-name", ["'falt'", "'fault'"]),
        ([*RUN, "--set", "fault"], "bad-value", ["--set 'fault'", "OPTION=VALUE"]),
        ([*RUN, "--set", "step_s=-1"], "bad-value", ["step_s = -1"]),
        ([*RUN, "--set", "step_s=soon"], "bad-value", ["step_s = 'soon'"]),
        ([*RUN, "--samples", "0"], "command-line", ["--samples", "x>=1"]),
        ([*RUN, "--rounds", "many"], "command-line", ["--rounds"]),
        ([*RUN, "--top-p", "1.5"], "command-line", ["--top-p"]),
        ([*RUN, "--temperature", "inf"], "bad-value", ["temperature = inf"]),
        ([*RUN, "--batch-size", "99"], "not-supported", ["batch_size = 99", "4"]),
        ([*RUN, "--prompt-tokens", "5"], "bad-value", ["prompt_tokens", "task"]),
        ([*RUN, "--depth", "5"], "bad-value", ["prompt_tokens"]),
        ([*RUN, "--stop", ""], "bad-value", ["stop"]),
        ([*RUN, "--memory-limit", "much"], "command-line", ["'much'"]),
        ([*RUN, "-o", "/proc/nothing"], "write-failed", ["/proc/nothing"]),
        (["run", "missing.toml"], "file-unreadable", ["missing.toml"]),
        (["compare", "/nonexistent"], "folder-missing", ["/nonexistent"]),
        (["compare", "/proc/nothing", "--min-effect", "2x"], "command-line", ["'2x'"]),
        (["plot", "--figure", "nothing", "--list"], "unknown-name", ["'nothing'"]),
        (["prepare", "tiny:draft", "-b", "nothing"], "unknown-name", ["'nothing'"]),
    ],
)
def test_bad_input_is_refused_in_a_line_or_two(cli, tmp_path, arguments, code, words):
    ended = cli(*arguments, cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert f"[{code}]" in ended.err and "Traceback" not in ended.err
    for word in words:
        assert word in ended.err
    assert len([line for line in ended.err.splitlines() if line and not line.startswith(("Usage", "Try"))]) <= 3


def test_an_error_is_json_where_that_was_asked_for(cli, tmp_path):
    ended = cli("run", "-b", "lama-cpp", "-m", "tiny:draft", "--json", cwd=tmp_path)
    error = ended.json["error"]
    assert (ended.code, error["code"], error["exit_code"]) == (2, "unknown-name", 2)
    assert (error["kind"], error["name"], error["nearest"]) == ("backend", "lama-cpp", "llama-cpp")
    assert error["message"] in ended.err


def test_a_folder_that_is_no_model_is_refused(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("not a model")
    ended = cli("run", "-b", "faulty", "-m", tmp_path, "--task", "tiny-gsm", "-o", tmp_path / "o")
    assert ended.code == 2
    assert str(tmp_path) in ended.err and "[model-not-found]" in ended.err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("rounds = oops\n", "file-unreadable", ["line 1"]),
        ("ronds = 3\n[[cells]]\nbackend = 'faulty'", "unknown-name", ["'ronds'", "'rounds'"]),
        ("[workload]\nsample = 3\n[[cells]]\nbackend = 'faulty'", "unknown-name", ["'workload.sample'", "'samples'"]),
        (
            "[[cells]]\nbackend = 'faulty'\nquantization = 'f32'",
            "unknown-name",
            ["cells[0].quantization", "'quantisation'"],
        ),
        ("rounds = 0\n[[cells]]\nbackend = 'faulty'", "bad-value", ["rounds = 0", "1"]),
        ("rounds = 'three'\n[[cells]]\nbackend = 'faulty'", "bad-value", ["rounds = 'three'"]),
        ("[workload]\ntask = 'tiny-gsm'", "bad-value", ["cells"]),
        ("workload = 3\n[[cells]]\nbackend = 'faulty'", "bad-value", ["workload = 3"]),
        ("name = 'a/b'\n[[cells]]\nbackend = 'faulty'", "bad-value", ["name: 'a/b'"]),
    ],
)
def test_a_bad_plan_is_refused_with_its_key(cli, tmp_path, text, code, words):
    (tmp_path / "plan.toml").write_text(text)
    ended = cli("run", "plan.toml", cwd=tmp_path)
    assert ended.code == 2
    assert "plan.toml" in ended.err and f"[{code}]" in ended.err and "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


PLAN = """
name = "sweep"
rounds = 2
[workload]
model = "tiny:draft"
task = "tiny-gsm"
samples = 2
max_new_tokens = 4
[[cells]]
backend = "faulty"
options = { step_s = [0.0, 0.001], fault = "none" }
"""


def test_a_plan_and_flags_give_the_same_cells(cli, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    flags = ["--samples", 2, "--max-new-tokens", 4, "--set", "step_s=0.0,0.001", "--set", "fault=none"]
    planned = cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json").json
    flagged = cli(*RUN, *flags, "--rounds", 2, "--dry-run", "--no-probe", "--json").json
    assert planned == flagged
    assert len(planned["cells"]) == 2
    assert not (tmp_path / "benchmark_output").exists()


def test_a_flag_beats_the_plan_which_beats_the_environment(cli, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    other = {"DECODEBENCH_ROUNDS": "7", "DECODEBENCH_WARMUP": "5"}
    assert cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json", env=other).json["rounds"] == 2
    assert (
        cli("run", tmp_path / "plan.toml", "--rounds", 4, "--dry-run", "--no-probe", "--json", env=other).json["rounds"]
        == 4
    )
    (tmp_path / "config.toml").write_text("[run]\nrounds = 6\nwarmup = 3\n")
    settings = {entry["setting"]: entry for entry in cli("run", "--show-settings", "--json", env=other).json}
    assert (settings["rounds"]["value"], settings["rounds"]["from"]) == (7, "environment variable")
    settings = {entry["setting"]: entry for entry in cli("run", "--show-settings", "--json").json}
    assert (settings["warmup"]["value"], settings["warmup"]["from"]) == (3, "config file")
    assert settings["seed"]["from"] == "built-in default"


def test_a_bad_config_file_is_refused_with_the_nearest_key(cli, tmp_path):
    (tmp_path / "config.toml").write_text("[run]\nronds = 6\n")
    ended = cli("run", "--show-settings")
    assert ended.code == 2
    assert "did you mean 'rounds'?" in ended.err and "config.toml" in ended.err


def test_what_a_backend_does_not_offer_is_left_out_and_said(cli):
    arguments = ["-b", "faulty", "-b", "llama-cpp", "-m", "tiny:draft", "--task", "tiny-gsm", "-q", "f32", "-q", "q8_0"]
    ended = cli("run", *arguments, "--set", "n_threads=2", "--dry-run", "--no-probe", "--json")
    assert ended.code == 0
    assert "backend 'faulty' has no quantisation 'q8_0': left out" in ended.err
    assert "backend 'faulty' has no option 'n_threads': left out" in ended.err
    assert [(c["backend"], c["quantisation"]) for c in ended.json["cells"]] == [
        ("faulty", "f32"),
        ("llama-cpp", "f32"),
        ("llama-cpp", "q8_0"),
    ]


def test_disabled_plugins_are_listed_and_not_loaded(cli):
    other = {"DECODEBENCH_DISABLE_PLUGINS": "faulty, llama-cpp"}
    status = {entry["name"]: entry["status"] for entry in cli("plugins", "--json", env=other).json}
    assert status["faulty"] == status["llama-cpp"] == "disabled"
    assert "faulty" not in [entry["name"] for entry in cli("backends", "--json", env=other).json]
    ended = cli(*RUN, env=other)
    assert ended.code == 2
    assert "its plugin is disabled" in ended.err


@pytest.mark.parametrize("listing", ["backends", "models", "tasks", "plugins", "doctor"])
def test_listings_speak_json_and_people(cli, listing):
    assert isinstance(cli(listing, "--json").json, list)
    shown = cli(listing)
    assert shown.code == 0
    assert len(shown.out.splitlines()) > 3
    assert "\x1b[" not in shown.out


@pytest.mark.parametrize("columns", range(40, 170, 3))
def test_no_word_of_a_listing_is_broken_however_narrow(monkeypatch, capsys, columns):
    rows = [["llama-cpp", "autoregressive", "missing: no llama-cpp-python", "f16 q8_0"], ["mlc", "", None, "q4f16_1"]]
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(["backend", "kind", "status", "quantisations"], rows, empty="none")
    shown = capsys.readouterr().out
    assert {word for row in rows for value in row if value for word in value.split()} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= columns


def test_the_schema_describes_every_field(cli):
    for name, schema in cli("schema").json.items():
        for field, content in schema["properties"].items():
            assert "description" in content or "$ref" in json.dumps(content) or name in ("PluginRecord",), (
                f"{name}.{field}"
            )


def test_a_reader_that_goes_away_is_no_error(cli):
    process = cli.start("schema")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err


def test_quantisations_stand_in_the_order_of_their_bits(cli):
    found = cli("quantisations", "-b", "llama-cpp", "-b", "mlc", "--json").json
    bits = [entry["bits_per_weight"] for entry in found]
    assert bits == sorted(bits, reverse=True)
    at = {(entry["backend"], entry["quantisation"]): entry["bits_per_weight"] for entry in found}
    assert at["mlc", "q4f16_1"] == at["llama-cpp", "q4_0"] == 4.5
    assert {backend for backend, _ in at} == {"llama-cpp", "mlc"}
    unknown = cli("quantisations", "-b", "mcl")
    assert unknown.code == 2 and "mlc" in unknown.err


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("arguments", "output", "code"),
    [
        ("findings --list --json", "/dev/full", 1),
        ("findings --list", "/dev/full", 1),
        ("findings --list", "&-", 0),
        ("findings --list --json", "&-", 0),
    ],
)
def test_an_output_that_takes_nothing_gives_no_traceback(cli, arguments, output, code):
    line = f"exec {shlex.join(cli.command())} {arguments} >{output}"
    done = subprocess.run(["bash", "-c", line], env=cli.environment, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_a_group_without_a_command_shows_its_help_once(cli):
    ended = cli("config")
    assert ended.code == 2 and ended.err.count("Usage:") == 1
    assert ended.err.rstrip().endswith("[command-line]") and "set " in ended.err
