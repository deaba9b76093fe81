"""Other tools' logs on their way into the store: recognised, copied, read, refused; by any plugin's parser."""

from __future__ import annotations

import csv
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.exporters.csv_tables import export_csv
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from ..at_night import examples
from ..refusals import refused

DATA = Path(__file__).parents[1] / "data" / "tinygrad"
FLOAT16 = DATA / "softmacs_1B_float16_seed42_uuid3cffbfe6.txt"
NF4 = DATA / "softmacs_1B_nf4_seed42_uuiddb75ccab.txt"
CRASHED = DATA / "softmacs_1B_fp8_seed42_uuidb671f8e3.txt"
LOGS = (FLOAT16, NF4, CRASHED)

PLUGIN = '''
"""A third party's format: "stopwatch log", then "run ID HOST" and "step SECONDS" lines."""
from decodebench import hookimpl
from decodebench.core.contract.log_parser import LogParser
from decodebench.core.records.schema import Environment, RecordedStep, Run, Sample
from decodebench.core.sdk.logs.text import malformed, read_text


class Stopwatch(LogParser):
    name, summary, version = "stopwatch", "logs of a stopwatch", "1"

    def matches(self, path, head):
        if b"unlookable" in head:
            raise ValueError("no patience")
        return head.startswith(b"stopwatch log")

    def read(self, path):
        run_id, times = None, []
        for number, line in enumerate(read_text(path).splitlines()[1:], start=2):
            word, *values = line.split()
            if word == "run":
                run_id, times = values[0], []
                yield Run(run_id=run_id, experiment="", cell_id="", round=0, started_at="", backend="watch",
                          model="m", quantisation="none", device="cpu", samples=1, warmup=0, max_new_tokens=1)
                yield Sample(run_id=run_id, index=0, output_tokens=1)
            elif word == "step":
                try:
                    times.append(float(values[0]))
                except ValueError as error:
                    raise malformed(path, number, "step", f"{values[0]!r} is no number") from error
                about = {"run_id": run_id, "sample": 0, "index": len(times) - 1}
                yield RecordedStep(**about, t_s=sum(times), step_s=times[-1], tokens=1)
            else:
                yield {"stop": 0}["go"]


class SeedFile(LogParser):
    name, summary, version = "seed-file", "claims the log of a crashed run", "1"

    def matches(self, path, head):
        return head == b"seed = 42\\n"

    def read(self, path):
        yield from ()


@hookimpl
def decodebench_log_parsers():
    return [Stopwatch, SeedFile]
'''


@pytest.fixture
def stopwatch(tmp_path_factory, monkeypatch):
    """A distribution with two log parsers, installed; returns the folder it lies in."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "stopwatch_plugin.py").write_text(PLUGIN)
    info = folder / "stopwatch_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stopwatch_plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[decodebench]\nstopwatch = stopwatch_plugin\n")
    monkeypatch.syspath_prepend(folder)
    return folder


def content(folder):
    """Everything in the store but the times of the copies."""
    queries = {table: f"SELECT * FROM {table}" for table in ("runs", "samples", "steps")}
    queries["sources"] = "SELECT * EXCLUDE mtime_ns FROM sources"
    with Store.open(folder) as store:
        return {table: sorted(map(repr, store.dicts(sql))) for table, sql in queries.items()}


def rows(folder, sql):
    with Store.open(folder) as store:
        return store.query(sql)[1]


def texts(report):
    return {Path(problem.file).name: problem.text for problem in report.problems}


def test_the_real_logs_become_runs_with_their_provenance(tmp_path):
    report = collate(tmp_path / "o", all_plugins(), intake=Intake(LOGS))
    assert (len(report.added), report.problems, report.failed_imports) == (3, (), ())
    found = rows(
        tmp_path / "o",
        "SELECT quantisation, status, hostname, source_format, parser, experiment, round, source_file, "
        "(SELECT count(*) FROM steps t WHERE t.run_id = r.run_id) FROM runs r ORDER BY quantisation",
    )
    host = ("softmacs", "tinygrad", "tinygrad/3", "imported", 0)
    paths = [f"raw/imported/imported/tinygrad/{digest}/{path.name}" for digest, path in (
        ("e66fe95ccd5c", FLOAT16), ("b07bbdc35177", CRASHED), ("8875bfa9cf00", NF4)
    )]  # fmt: skip
    assert found == [
        ("float16", "ok", *host, paths[0], 20),
        ("fp8", "failed", *host, paths[1], 0),
        ("nf4", "ok", *host, paths[2], 20),
    ]
    plugins = rows(tmp_path / "o", "SELECT DISTINCT parser_plugin FROM runs")
    assert plugins == [(f"decodebench {version('decodebench')}",)]
    assert [(tmp_path / "o" / path).read_bytes() for path in paths] == [p.read_bytes() for p in (FLOAT16, CRASHED, NF4)]


@pytest.mark.parametrize("log", [FLOAT16, NF4], ids=["float16", "nf4"])
def test_the_exported_rows_are_the_published_ones(tmp_path, log):
    collate(tmp_path, all_plugins(), intake=Intake([log]))
    with Store.open(tmp_path) as store:
        (path,) = export_csv(store, tmp_path / "csv", cumulative_text=True)
    with path.open(newline="") as ours, log.with_suffix(".csv").open(newline="") as theirs:
        exported, published = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    assert len(exported) == len(published) == 20
    numbers = list(published[0])[1:6]
    for row, expected in zip(exported, published, strict=True):
        assert int(row["step"]) + 1 == int(expected["step"])
        assert [round(float(row[name]), 2) for name in numbers] == [float(expected[name]) for name in numbers]
    for row, late in zip(exported[:10], published[1:], strict=False):
        assert row["generated_text"] == late["generated_text"]  # the published text lags by one step
    assert exported[0]["uuid"] == log.stem[-12:] and exported[0]["hostname"] == "softmacs"


def test_a_second_import_and_a_rebuild_change_nothing(tmp_path):
    first = collate(tmp_path, all_plugins(), intake=Intake(LOGS))
    before = content(tmp_path)
    second = collate(tmp_path, all_plugins(), intake=Intake(LOGS[::-1]))
    assert (second.added, second.unchanged) == ((), first.added)
    assert content(tmp_path) == before
    assert collate(tmp_path, all_plugins(), rebuild=True).added == first.added
    assert content(tmp_path) == before
    assert not list(tmp_path.rglob("*.part"))


def log_of(uuid, total_ms=40.0, quantisation="int8"):
    rates = f"{1e3 / total_ms:.2f} tok/s, 100.00 GB/s, param {3e3 / total_ms:.2f} GB/s"
    head = f"hostname: h\nsize: 1B\nquantize: {quantisation}\nuuid: {uuid}\nseed = 1\n"
    return f"{head}enqueue in   1.00 ms\ntotal  {total_ms:.2f} ms, {rates}\nHello\n"


@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(7)), cuts=st.sets(st.integers(1, 6), max_size=3))
def test_any_order_of_import_gives_the_same_store(tmp_path_factory, order, cuts):
    source = tmp_path_factory.mktemp("logs")
    files = [shutil.copy(path, source) for path in LOGS]
    for name, log in (
        ("a.txt", log_of("uuid00000001")), ("b.txt", log_of("uuid00000002", 50.0)),
        ("c.txt", log_of("uuid00000001", 60.0)), ("d.txt", log_of("uuid00000003", quantisation="nf4")),
    ):  # fmt: skip
        (source / name).write_text(log)
        files.append(str(source / name))
    target, at_once = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("at-once")
    waiting = []
    for done, index in enumerate(order):
        waiting.append(Path(files[index]))
        if done in cuts:
            collate(target, all_plugins(), intake=Intake(waiting))
            waiting = []
    collate(target, all_plugins(), intake=Intake(waiting))
    report = collate(at_once, all_plugins(), intake=Intake([source]))
    assert [problem.text.split(" in ")[0] for problem in report.problems] == ["run uuid00000001 is also"]
    assert content(target) == content(at_once)
    cells = rows(target, "SELECT quantisation, list(round ORDER BY run_id) FROM runs WHERE hostname = 'h' GROUP BY ALL")
    assert sorted(cells) == [("int8", [0, 1]), ("nf4", [0])]


def test_files_that_cannot_be_read_are_one_line_each_and_stop_no_other(tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    log = FLOAT16.read_bytes()
    for name, data in {
        "binary.bin": bytes(range(256)),
        "cut.txt": log[:1500],
        "empty.txt": b"",
        "latin.txt": log.replace(b"Hello!", b"Gr\xfc\xdfe!"),
        "notes.md": b"# Notes\n",
        "repeated.txt": log.replace(b"enqueue in   1.16 ms\n", b"enqueue in   1.16 ms\n" * 2),
    }.items():
        (bad / name).write_bytes(data)
    shutil.copy(NF4, bad)
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([bad, CRASHED]))
    expected = {
        "binary.bin": "not a log of a known format",
        "cut.txt": "was cut",
        "empty.txt": "empty",
        "latin.txt": "latin.txt:8: byte 0xfc",
        "notes.md": "not a log of a known format",
        "repeated.txt": "repeated.txt:7: field 'enqueue': the step that line 6 began",
    }
    assert sorted(Path(name).name for name in report.failed_imports) == sorted(expected)
    for name, words in expected.items():
        assert words in texts(report)[name] and "\n" not in texts(report)[name]
    found = rows(tmp_path / "o", "SELECT run_id, status FROM runs ORDER BY status, run_id")
    assert [status for _, status in found] == ["failed", "incomplete", "ok"]
    copied = {path.name for path in (tmp_path / "o" / "raw").rglob("*.*") if path.is_file()}
    assert copied == {"cut.txt", "latin.txt", "repeated.txt", NF4.name, CRASHED.name}
    assert rows(tmp_path / "o", "SELECT count(*) FROM steps t ANTI JOIN runs r USING (run_id)") == [(0,)]


def test_a_marked_utf_16_log_is_read(tmp_path):
    log = tmp_path / FLOAT16.name
    log.write_bytes(FLOAT16.read_text().replace("\n", "\r\n").encode("utf-16"))
    assert collate(tmp_path / "o", all_plugins(), intake=Intake([log])).problems == ()
    assert rows(tmp_path / "o", "SELECT count(*) FROM steps") == [(20,)]


def test_what_is_there_already_is_not_imported_into_itself(tmp_path):
    shutil.copy(FLOAT16, tmp_path)
    for _ in range(2):
        report = collate(tmp_path, all_plugins(), intake=Intake([tmp_path]))
        assert report.problems == ()
    assert len(list((tmp_path / "raw").rglob("*.txt"))) == 1


@pytest.mark.parametrize(("make", "words"), [(os.mkfifo, "not a file"), (os.mkdir, "no file in it")])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make, words):
    make(tmp_path / "thing")
    assert texts(collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "thing"]))) == {"thing": words}


def test_a_copy_that_is_removed_takes_its_run_along(tmp_path):
    report = collate(tmp_path, all_plugins(), intake=Intake(LOGS))
    (tmp_path / report.added[0]).unlink()
    assert collate(tmp_path, all_plugins()).removed == report.added[:1]
    assert rows(tmp_path, "SELECT count(*) FROM runs") == [(2,)]


def test_own_logs_and_imported_ones_live_side_by_side(logs):
    logs.write("a")
    copy = logs.write("b").rename(logs.folder / "mine.jsonl")
    report = collate(logs.folder, all_plugins(), intake=Intake([FLOAT16, copy]))
    assert texts(report) == {"mine.jsonl": report.problems[0].text}
    assert "not a log of a known format" in report.problems[0].text
    assert rows(logs.folder, "SELECT experiment FROM runs ORDER BY ALL") == [("exp",), ("imported",)]


def test_built_in_parsers_are_found_as_a_third_partys_are(stopwatch):
    registry = all_plugins()
    assert {"tinygrad", "stopwatch"} <= set(registry.log_parsers)
    assert registry.provider("decodebench_log_parsers", "stopwatch").distribution == "stopwatch_plugin"
    with refused("unknown-name", name="tinygard", nearest="tinygrad"):
        registry.log_parser("tinygard")


def test_a_third_partys_format_with_several_runs_in_a_file(stopwatch, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("stopwatch log\nrun r1\nstep 0.5\nstep 0.25\nrun r2\nstep 1\n")
    two.write_text("stopwatch log\nrun r2\nstep 1\nrun r3\nstep 2\n")
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([one, two]))
    (problem,) = report.problems
    assert "run r2 is also in raw/imported/imported/stopwatch/" in problem.text
    query = "SELECT run_id, round, count(*), sum(step_s) FROM runs JOIN steps USING (run_id) GROUP BY ALL ORDER BY ALL"
    assert rows(tmp_path / "o", query) == [("r1", 0, 2, 0.75), ("r2", 1, 1, 1.0), ("r3", 2, 1, 2.0)]

    first = next(path for path in report.added if path != problem.file)
    (tmp_path / "o" / first).unlink()
    report = collate(tmp_path / "o", all_plugins())
    assert report.removed == (first,) and report.problems == ()
    kept = {"one": [("r1", 0), ("r2", 1)], "two": [("r2", 0), ("r3", 1)]}[Path(problem.file).name]
    assert rows(tmp_path / "o", "SELECT run_id, round FROM runs ORDER BY ALL") == kept


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("run r1\nstep soon\n", "log:3: field 'step': 'soon' is no number"),
        ("run r1\nstep -1\n", "parser stopwatch/1 failed: ValidationError"),
        ("run r1\nboom\n", "parser stopwatch/1 failed: KeyError: 'go'"),
        ("step 1\n", "parser stopwatch/1 failed"),
        ("run r1\nrun r1\n", "run r1 "),
        ("", "no run in it"),
    ],
)
def test_what_goes_wrong_in_a_third_partys_parser_is_one_line(stopwatch, tmp_path, log, words):
    path = tmp_path / "log"
    path.write_text("stopwatch log\n" + log)
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([path, FLOAT16]))
    assert words in texts(report)["log"] and "\n" not in texts(report)["log"]
    assert rows(tmp_path / "o", "SELECT run_id FROM runs") == [("uuid3cffbfe6",)]


def test_a_file_of_two_formats_needs_the_format_named(stopwatch, tmp_path):
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([CRASHED]))
    assert texts(report) == {CRASHED.name: "recognised as seed-file and as tinygrad; name one with --format"}
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([CRASHED], log_format="tinygrad"))
    assert report.problems == () and report.added[0].startswith("raw/imported/imported/tinygrad/")
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([FLOAT16], log_format="stopwatch"))
    assert "parser stopwatch/1 failed: KeyError: 'go'" in next(iter(texts(report).values()))


def test_a_parser_that_fails_to_look_is_named_and_stops_no_other(stopwatch, tmp_path):
    log = tmp_path / FLOAT16.name
    log.write_bytes(FLOAT16.read_bytes().replace(b"entertainment", b"unlookable"))
    other = tmp_path / "other.txt"
    other.write_text("unlookable")
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([log, other]))
    assert len(report.added) == 1
    assert (
        texts(report)["other.txt"].partition("parser stopwatch/1 failed: ")[2].startswith("ValueError: no patience (")
    )


def test_a_new_parser_version_reads_again_and_a_missing_one_is_said(stopwatch, tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.write_text("stopwatch log\nrun r1\nstep 0.5\n")
    added = collate(tmp_path / "o", all_plugins(), intake=Intake([log])).added
    monkeypatch.setattr(all_plugins().log_parsers["stopwatch"], "version", "2")
    assert collate(tmp_path / "o", all_plugins()).updated == added
    assert rows(tmp_path / "o", "SELECT parser FROM runs") == [("stopwatch/2",)]
    monkeypatch.setenv("DECODEBENCH_DISABLE_PLUGINS", "stopwatch")
    report = collate(tmp_path / "o", all_plugins())
    assert texts(report) == {"log": "no plugin provides log parser 'stopwatch'; see `decodebench plugins`"}
    assert rows(tmp_path / "o", "SELECT count(*) FROM runs") == [(0,)]
    monkeypatch.delenv("DECODEBENCH_DISABLE_PLUGINS")
    assert collate(tmp_path / "o", all_plugins()).problems == ()


def test_the_command_imports_into_a_new_folder_and_exits_with_1_on_a_problem(cli, tmp_path):
    folder = tmp_path / "new" / "o"
    ended = cli("collate", folder, "--import", FLOAT16, "--import", NF4)
    assert (ended.code, ended.out) == (0, "2 added, 0 updated, 0 unchanged, 0 removed, 0 problems\n"), ended.err
    bad = tmp_path / "bad.txt"
    bad.write_text("hello")
    ended = cli("collate", folder, "--import", bad, "--import", CRASHED, "--json")
    assert ended.code == 1 and ended.json["failed_imports"] == [str(bad)]
    assert len(ended.json["added"]) == 1 and len(ended.json["unchanged"]) == 2
    assert cli("collate", folder).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--import", "missing.txt"], "missing.txt"),
        (["--import", ".", "--format", "tinygrd"], "unknown log format 'tinygrd'"),
        (["--format", "tinygrad"], "--import PATH"),
        ([], "does not exist"),
    ],
)
def test_bad_usage_of_the_command_is_refused(cli, tmp_path, arguments, words):
    ended = cli("collate", "new", *arguments, cwd=tmp_path)
    assert ended.code == 2 and words in ended.err and "Traceback" not in ended.err
    assert not (tmp_path / "new").exists()


def test_the_experiment_is_named_and_kept_with_the_copy(cli, tmp_path):
    ended = cli("collate", tmp_path / "o", "--import", FLOAT16, "--experiment", "laptop")
    assert ended.code == 0, ended.err
    assert cli("collate", tmp_path / "o", "--rebuild").code == 0
    assert rows(tmp_path / "o", "SELECT experiment FROM runs") == [("laptop",)]
    refused = {
        ("--experiment", "x"): "--experiment needs --import PATH",
        ("--import", FLOAT16, "--experiment", "../x"): "experiment name '../x' may have letters",
    }
    for flags, words in refused.items():
        ended = cli("collate", tmp_path / "o", *flags)
        assert ended.code == 2 and words in ended.err
