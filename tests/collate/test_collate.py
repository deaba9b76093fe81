import json
import os
import shutil
from importlib.metadata import version

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.facts import FACTS_SQL
from decodebench.core.records.store import Store

from ..at_night import examples

TABLES = ("runs", "samples", "steps", "sample_facts", "sources", "parity_scores", "parity_cells")


def content(folder):
    with Store.open(folder) as store:
        return {table: sorted(map(repr, store.dicts(f"SELECT * FROM {table}"))) for table in TABLES}


def test_twice_changes_nothing(logs):
    logs.speeds("a", [0.1, 0.2])
    logs.write("b", end=False)
    first = collate(logs.folder, all_plugins())
    before = content(logs.folder)
    second = collate(logs.folder, all_plugins())
    assert len(first.added) == 3 and second.added == second.updated == second.removed == ()
    assert second.unchanged == first.added
    assert content(logs.folder) == before
    assert collate(logs.folder, all_plugins(), rebuild=True).added == first.added
    assert content(logs.folder) == before


def test_a_changed_log_is_replaced_and_a_vanished_one_removed(logs):
    a, b = logs.write("a"), logs.write("b")
    collate(logs.folder, all_plugins())
    a.unlink()
    b.unlink()
    logs.write("b", load={"load_s": 99.0})
    report = collate(logs.folder, all_plugins())
    assert report.removed == ("raw/a/a_0.jsonl",) and report.updated == ("raw/b/b_0.jsonl",)
    with Store.open(logs.folder) as store:
        assert store.query("SELECT backend, load_s FROM runs")[1] == [("b", 99.0)]


def test_a_touched_log_is_unchanged(logs):
    path = logs.write("a")
    collate(logs.folder, all_plugins())
    os.utime(path, ns=(1, 1))
    assert collate(logs.folder, all_plugins()).unchanged == ("raw/a/a_0.jsonl",)


def test_a_cut_log_is_incomplete_until_it_is_finished(logs):
    part = logs.write("a", end=False)
    report = collate(logs.folder, all_plugins())
    assert "end line is missing" in report.problems[0].text
    with Store.open(logs.folder) as store:
        assert store.query("SELECT status FROM runs")[1] == [("incomplete",)]
        assert store.query("SELECT count(*) FROM samples")[1] == [(2,)]
    part.unlink()
    logs.write("a")
    report = collate(logs.folder, all_plugins())
    assert (len(report.added), len(report.removed), report.problems) == (1, 1, ())
    with Store.open(logs.folder) as store:
        assert store.query("SELECT status FROM runs")[1] == [("ok",)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"\x00\xff\n", "not a JSON line"),
        (b'{"type":"run","schema":3}\n', "version 3"),
        (b'{"type":"run","schema":1}\n', "field 'run_id'"),
    ],
)
def test_a_broken_log_is_one_line_and_stops_no_other(logs, data, text):
    logs.write("b")
    path = logs.folder / "raw" / "a" / "broken.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    for _ in range(2):
        report = collate(logs.folder, all_plugins())
        (problem,) = report.problems
        assert problem.file == "raw/a/broken.jsonl" and text in problem.text and "\n" not in problem.text
    with Store.open(logs.folder) as store:
        assert store.query("SELECT backend FROM runs")[1] == [("b",)]


def test_a_log_that_the_store_refuses_leaves_nothing_behind(logs):
    logs.write("a", seed=2**70)
    assert (
        "seed" in collate(logs.folder, all_plugins()).problems[0].text or collate(logs.folder, all_plugins()).problems
    )
    assert content(logs.folder)["runs"] == []


def test_one_run_in_two_files_counts_once(logs):
    first = logs.write("a", name="a_0.jsonl")
    copy = first.with_name("z.jsonl")
    shutil.copy(first, copy)
    report = collate(logs.folder, all_plugins())
    assert report.problems[0].file == "raw/a/z.jsonl" and "counted once" in report.problems[0].text
    assert len(content(logs.folder)["runs"]) == 1
    first.unlink()
    assert collate(logs.folder, all_plugins()).problems == ()
    with Store.open(logs.folder) as store:
        assert store.query("SELECT source_file FROM runs")[1] == [("raw/a/z.jsonl",)]


def test_every_record_names_its_line_and_who_read_it(logs):
    logs.write("a")
    logs.write("b", end=False)  # read line by line, not in bulk
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        runs = store.dicts("SELECT * FROM runs")
        for run in runs:
            assert (run["source_line"], run["parser"]) == (1, "decodebench/2")
            assert run["parser_plugin"] == f"decodebench {version('decodebench')}"
            lines = (logs.folder / run["source_file"]).read_text().splitlines()
            for table, kind, same in (("samples", "sample", ["index"]), ("steps", "step", ["sample", "index", "t_s"])):
                rows = store.dicts(f"SELECT * FROM {table} WHERE run_id = ?", [run["run_id"]])
                assert len(rows) == sum(json.loads(line)["type"] == kind for line in lines) > 0
                for row in rows:
                    line = json.loads(lines[row["source_line"] - 1])
                    assert line["type"] == kind and all(line[name] == row[name] for name in same)
    assert len(runs) == 2


def test_progress_and_an_empty_folder(logs):
    seen = []
    assert collate(logs.folder, all_plugins(), progress=lambda *call: seen.append(call)).added == ()
    logs.write("a")
    collate(logs.folder, all_plugins(), progress=lambda *call: seen.append(call))
    assert seen == [(0, 1, "raw/a/a_0.jsonl")]


def test_parity_files_are_read_once_and_replaced(logs):
    line = {
        "experiment": "exp", "baseline_cell": "cell-a", "cell": "cell-b", "sample_id": "p0", "position": 3,
        "baseline_token": 1, "token": 2, "logprob_gap": 0.0, "top2_margin": 0.0,
    }  # fmt: skip
    path = logs.parity(line, line | {"sample_id": "p1"})
    collate(logs.folder, all_plugins())
    collate(logs.folder, all_plugins())
    assert len(content(logs.folder)["parity_scores"]) == 2
    logs.parity(line | {"position": -1})
    assert "position" in collate(logs.folder, all_plugins()).problems[0].text
    path.unlink()
    assert collate(logs.folder, all_plugins()).removed == ("raw/parity/scores.jsonl",)
    assert content(logs.folder)["parity_scores"] == []


@settings(max_examples=examples(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5), max_size=3))
def test_any_order_of_arrival_gives_the_same_store(tmp_path_factory, make_logs, order, cuts):
    source = make_logs(tmp_path_factory.mktemp("source"))
    paths = [source.write("a", 0), source.write("a", 1), source.write("b", 0), source.write("b", 1, end=False)]
    for name in ("z.jsonl", "0.jsonl"):  # copies of runs that are there
        copy = paths[len(name) % 2].with_name(name)
        shutil.copy2(paths[len(name) % 2], copy)
        paths.append(copy)
    target = tmp_path_factory.mktemp("target")
    for done, index in enumerate(order):
        to = target / paths[index].relative_to(source.folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths[index], to)
        if done in cuts:
            collate(target, all_plugins())
    collate(target, all_plugins())
    collate(source.folder, all_plugins())
    assert content(target) == content(source.folder)
    with Store.open(target) as store:
        facts = [sorted(map(repr, store.dicts(f"SELECT * FROM {of}"))) for of in ("sample_facts", f"({FACTS_SQL})")]
    assert facts[0] == facts[1]
    before = content(target)
    collate(target, all_plugins())
    assert content(target) == before
