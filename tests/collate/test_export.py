import csv
import io

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.exporters.csv_tables import export_csv
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.core.sdk.logs.workflow_header import STEP_COLUMNS

EXTRA = (
    "backend", "model", "experiment", "cell_id", "round", "status", "sample", "sample_id", "is_warmup",
    "tokens_in_step", "block_size", "drafted", "accepted", "candidates", "forwards",
)  # fmt: skip


@pytest.fixture
def export(logs, tmp_path):
    def write(**arguments):
        collate(logs.folder, all_plugins())
        with Store.open(logs.folder) as store:
            paths = export_csv(store, tmp_path / "csv", **arguments)
        return {path.name: list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))) for path in paths}

    return write


def test_columns_stand_in_the_order_of_the_contract(logs, export, make_sample, make_steps):
    steps = make_steps(n=2, bytes_read=3_000_000_000, forwards=1, enqueue_s=0.001)
    logs.write("a", content=[make_sample(0, steps)], load={"weight_bytes": 2_000_000_000}, size="1B", seed=7)
    logs.write("b")
    files = export()
    assert sorted(files) == ["a.csv", "b.csv"]
    header, first, second = files["a.csv"]
    assert tuple(header) == STEP_COLUMNS + EXTRA
    row = dict(zip(header, second, strict=True))
    expected = {
        "step": 1, "enqueue_latency_ms": 1.0, "total_latency_ms": 100.0, "tokens_per_sec": 10.0,
        "memory_throughput_gb_s": 30.0, "param_throughput_gb_s": 20.0, "seed": 7, "round": 0,
    }  # fmt: skip
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
    assert (row["platform"], row["hostname"], row["username"], row["size"]) == ("Linux", "bench", "user", "1B")
    assert row["drafted"] == ""


def test_text_is_each_steps_own_or_cumulative_and_never_a_formula(logs, export, make_sample, make_steps):
    steps = make_steps(n=3)
    for each, text in zip(steps, ("=1+1", ' "a",\n', "b"), strict=True):
        each["text"] = text
    logs.write("a", content=[make_sample(i, steps) for i in range(2)])
    at = STEP_COLUMNS.index("generated_text")
    assert [row[at] for row in export()["a.csv"][1:4]] == ["'=1+1", ' "a",\n', "b"]
    texts = [row[at] for row in export(cumulative_text=True)["a.csv"][1:]]
    assert texts == ["'=1+1", '\'=1+1 "a",\n', '\'=1+1 "a",\nb'] * 2


def test_a_failed_write_leaves_the_old_file(logs, export, tmp_path, monkeypatch):
    logs.write("a")
    before = export()
    monkeypatch.setattr("decodebench.collate.exporters.csv_tables.csv_cell", lambda value: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export()
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["a.csv"]
    monkeypatch.undo()
    assert export() == before
