"""Whatever a record says, no command obeys it: every string field, through every command that reads and every exporter.

The strings hold what would act on a terminal, Rich, a spreadsheet, HTML, Typst, TeX, SQL, YAML or a path.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import tomllib
import types
import typing
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pydantic import BaseModel

import decodebench
from decodebench.collate.comparison.reproduce import plan_toml
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.api.results import collate
from decodebench.core.records.schema import RecordedStep, Run, Sample

from ..at_night import a_few
from ..refusals import refused

PAYLOAD = (
    "=cmd|'/c calc'!A0 ../../../../../../escaped/\x1b]0;title\x07\x1b[2J\x9b31m\x1b]52;c;cHduZWQ=\x07\x1b]8;;http://evil/\x07"
    '[/nope][bold][link=http://evil]:bomb: {{7*7}} ${x} %s {0} $\\frac{$ #read("/etc/passwd") ]] */ @ref <lbl> `x` '
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> "
    "'; DROP TABLE runs; --\" !!python/object/apply:os.system ['id'] \u202egnp.exe\u202c \u2028\r\n- forged: line "
    "\u00e9\u4e2d\U0001f600"
)
BACKENDS = ("dflash", "fast-dllm", "draft-target", PAYLOAD)
FIXED = {
    "run_id", "experiment", "cell_id", "backend", "status", "index", "sample", "started_at", "source_format",
    "source_file", "parser", "parser_plugin", "parser_plugin_revision", "memory_bandwidth",
    "memory_bandwidth_1_thread", "output_ids", "finish",
}  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def hostile(model: type[BaseModel]) -> dict[str, object]:
    """Return a value for every field of a record that can hold text of the writer's choice."""
    found = {name: _value(field.annotation) for name, field in model.model_fields.items() if name not in FIXED}
    return {name: value for name, value in found.items() if value is not None}


def _value(kind) -> object:
    arguments = [argument for argument in typing.get_args(kind) if argument is not type(None)]
    if kind is str:
        return PAYLOAD
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return hostile(kind) or None
    origin = typing.get_origin(kind)
    if origin is dict and arguments[0] is str:
        value = 1.0 if arguments[1] is float else PAYLOAD
        return {PAYLOAD: value, "plain": value}
    if origin in (tuple, list) and arguments[0] is str:
        return [PAYLOAD, "plain"]
    if origin in (typing.Union, types.UnionType):
        return next((value for argument in arguments if (value := _value(argument)) is not None), None)
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_logs, make_sample, make_steps):
    """An output folder whose records are hostile wherever they can be."""
    folder = tmp_path_factory.mktemp("hostile") / "a" / "b" / "out"
    logs = make_logs(folder)
    run, sample, step = (hostile(model) for model in (Run, Sample, RecordedStep))
    run["options"] = {**run["options"], "block_size": 4, "block_length": 4, "steps": 4}
    for number, backend in enumerate(BACKENDS):
        for round in range(2):
            cycles = {"block_size": 4, "drafted": 3, "accepted": 1, "draft_s": 0.01, "verify_s": 0.02}
            content = [
                make_sample(i, [{**step, **cycles, **s} for s in make_steps(n=3, gap=0.1 * (number + 1))])
                for i in range(2)
            ]
            for at, each in enumerate(content):
                each.update({name: value for name, value in sample.items() if name not in ("choices", "scores")})
                each.update(sample_id=f"{PAYLOAD}{at}", status="ok", engine={**sample["engine"]}, score=float(at % 2))
            fields = {name: value for name, value in run.items() if name not in ("totals", "settings", "notes")}
            fields.update(experiment=PAYLOAD, cell_id=f"{PAYLOAD}{number}", backend=backend, cell_index=number)
            load = {"settings": run["settings"], "notes": run["notes"]}
            logs.write(chr(97 + number), round, content, load=load, **fields)
    logs.write("z", 0, [], status="failed", **{**fields, "reason": PAYLOAD, "cell_id": "failed"})
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def checked(result, codes=(0, 1, 3)):
    """Check what a command printed, and that it ended as commands do."""
    assert "Traceback" not in result.err, result.err[-2000:]
    assert result.code in codes, result.err[-500:]
    for text in (result.out, result.err):
        assert not CONTROL.search(text), repr(CONTROL.search(text))
    return result


READING = [
    "collate", "show", "compare --by backend", "compare --json", "findings", "findings --json", "speculation",
    "report --log-entry", "query 'SELECT * FROM runs'", "query 'SELECT * FROM samples'",
    "query 'SELECT text, trace FROM steps'",
]  # fmt: skip


@pytest.mark.parametrize("command", a_few(4, READING))
def test_what_commands_print_acts_on_no_terminal(cli, folder, command):
    result = checked(cli(*shlex.split(command), folder))
    if "--json" in command:
        assert "[/nope]" in json.dumps(result.json)


def test_json_keeps_every_character(cli, folder):
    rows = checked(cli("query", "SELECT model, options FROM runs", folder, "--json")).rows
    assert all(row[0] == PAYLOAD and PAYLOAD in json.loads(row[1]) for row in rows)


def test_the_plan_that_measures_again_is_toml(folder):
    with decodebench.open(folder) as results:
        plan = tomllib.loads(plan_toml(results.store, PAYLOAD))
    assert plan["name"] == PAYLOAD and plan["cells"][0]["options"][PAYLOAD] == PAYLOAD


def test_an_import_stays_in_its_folder(tmp_path):
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    intake = Intake([tmp_path / "log.csv"], "../../../escaped")
    with refused("bad-value"):
        collate(tmp_path / "a" / "b" / "out", intake=intake)
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv"}


FORMATS = ("csv", "parquet", "json", "llm-d", "dflash", "fast-dllm-summary", "diffusion-sweep", "gsm8k-benchmark")


@pytest.mark.parametrize("name", FORMATS)
def test_exporters_write_into_their_folder_only(cli, folder, tmp_path, name):
    before, target = tree(folder.parents[2]), folder / "exported" / name
    checked(cli("export", "--format", name, folder, "--to", target))
    written = {path for path in tree(folder.parents[2]) - before if not path.startswith("a/b/out/exported")}
    assert not {path for path in written if ".duckdb" not in path}
    assert any(path.is_file() for path in target.rglob("*"))
    for path in target.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                assert not [cell for cell in row if cell.lstrip()[:1] in tuple("=+@") and cell.lstrip()]
    shutil.rmtree(target)


def test_figures_hold_names_as_text(cli, folder, tmp_path):
    some = ("--figure", "speedup_comparison", "--figure", "cycle_tau_trace")
    checked(cli("plot", folder, "--format", "svg", "--to", tmp_path / "figures", *some))
    assert len([ElementTree.parse(path) for path in (tmp_path / "figures").iterdir()]) == 2


@pytest.mark.nightly
def test_all_figures_page_and_slides_hold_names_as_text(cli, folder, tmp_path):
    before = tree(folder.parents[2])
    checked(cli("plot", folder, "--format", "svg", "--to", tmp_path / "figures"))
    for path in (tmp_path / "figures").iterdir():
        ElementTree.parse(path)
    checked(cli("report", folder, "--html", tmp_path / "report.html", "--slides", tmp_path / "report.pdf"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "<script>document.title" not in page
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert {path for path in tree(folder.parents[2]) - before if ".duckdb" not in path} == set()
