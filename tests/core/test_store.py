import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from decodebench import defaults
from decodebench.core.errors import UsageError
from decodebench.core.records.facts import FACTS_SQL
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.core.records.store_file import FILE_NAME, discard
from decodebench.core.records.tables import columns_of

from ..refusals import refused

RUN = Run(
    run_id="r", experiment="e", cell_id="c", round=0, started_at="2026-01-01", backend="b", model="m",
    quantisation="f16", device="cpu", samples=1, warmup=0, max_new_tokens=64, options={"n": [1, "x", None]},
)  # fmt: skip


def write(folder, run=RUN, samples=(), steps=()):
    with Store.open(folder, read_only=False) as store, store.transaction():
        store.add(run, samples, steps)


def test_importing_the_store_does_not_import_duckdb():
    code = "import sys, decodebench.core.records.store; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("table", "model"), [("runs", Run), ("samples", Sample), ("steps", RecordedStep)])
def test_every_schema_field_is_a_column(tmp_path, table, model):
    Store.open(tmp_path, read_only=False).close()
    with Store.open(tmp_path) as store:
        rows = store.query(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ?", [table]
        )
    found = dict(rows[1])
    assert set(model.model_fields) <= set(found)
    assert all(found[name] == sql_type for name, sql_type in columns_of(table).items())


def test_values_come_back_as_they_went_in(tmp_path):
    text = 'quote " \\ newline \n tab \t nul \0 emoji \U0001f600 ' + "x" * 3_000_000
    sample = Sample(run_id="r", index=0, output_tokens=2, output_ids=(1, 2), text=text, engine={"a": 0.5})
    step = RecordedStep(run_id="r", sample=0, index=0, t_s=1e-9, step_s=0.1 + 0.2, tokens=2, token_ids=(1, 2), text="")
    write(tmp_path, samples=[sample], steps=[step])
    with Store.open(tmp_path) as store:
        found = store.dicts("SELECT * FROM samples")[0]
        assert (found["text"], found["output_ids"], found["engine"]) == (text, [1, 2], '{"a":0.5}')
        found = store.dicts("SELECT * FROM steps")[0]
        assert (found["t_s"], found["step_s"], found["text"], found["drafted"]) == (1e-9, 0.1 + 0.2, "", None)
        assert store.dicts("SELECT options FROM runs")[0]["options"] == '{"n":[1,"x",null]}'


def test_constraints_of_the_schema_hold_in_the_store(tmp_path):
    with Store.open(tmp_path, read_only=False) as store, store.transaction():
        store.add(RUN, [Sample(run_id="r", index=0, output_tokens=1)], [])
    for sql in (
        "INSERT INTO steps (run_id, sample, \"index\", t_s, step_s, tokens) VALUES ('r', 0, 0, -1, 0, 1)",
        "UPDATE runs SET status = 'fine'",
        "UPDATE samples SET score = 2",
        "UPDATE samples SET is_warmup = NULL",
        "UPDATE samples SET output_tokens = -1",
    ):
        with Store.open(tmp_path, read_only=False) as store, pytest.raises(UsageError, match="(?i)constraint"):
            store.query(sql)


def test_the_same_step_twice_is_refused_and_nothing_stays(tmp_path):
    step = RecordedStep(run_id="r", sample=0, index=0, t_s=0, step_s=0, tokens=1)
    with pytest.raises(UsageError, match="twice"):
        write(tmp_path, samples=[Sample(run_id="r", index=0, output_tokens=1)], steps=[step, step])
    with Store.open(tmp_path) as store:
        assert store.query("SELECT count(*) FROM runs")[1] == [(0,)]


def test_a_value_out_of_range_is_a_clear_error(tmp_path):
    with refused("bad-value"):
        write(tmp_path, run=RUN.model_copy(update={"seed": 2**70}))


def test_a_run_can_be_replaced_in_one_transaction(tmp_path):
    sample = Sample(run_id="r", index=0, output_tokens=1)
    write(tmp_path, samples=[sample])
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            store.remove("r")
            store.add(RUN, [sample], [])
        assert store.query("SELECT count(*) FROM samples")[1] == [(1,)]


def test_a_user_query_changes_nothing_and_reads_no_file(tmp_path):
    write(tmp_path)
    other = tmp_path / "secret.csv"
    other.write_text("a\n1\n")
    with Store.open(tmp_path) as store:
        for sql in (
            "DELETE FROM runs",
            f"SELECT * FROM read_csv('{other}')",
            f"COPY runs TO '{tmp_path / 'out.csv'}'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(UsageError):
                store.query(sql)
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_store_names_the_command(tmp_path):
    with refused("no-results", "decodebench collate"):
        Store.open(tmp_path)


def test_a_damaged_store_says_rebuild(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(UsageError, match="--rebuild"):
        Store.open(tmp_path)
    discard(tmp_path)
    Store.open(tmp_path, read_only=False).close()


@pytest.mark.parametrize(("version", "advice"), [(1, "--rebuild"), (99, "pip install --upgrade decodebench")])
def test_a_store_of_another_version_says_what_to_do(tmp_path, version, advice):
    with Store.open(tmp_path, read_only=False) as store:
        store.query("UPDATE meta SET store_version = ?", [version])
    for read_only in (True, False):
        with pytest.raises(UsageError, match=advice):
            Store.open(tmp_path, read_only=read_only)


def test_facts_are_those_of_the_steps_that_are_there(tmp_path):
    def write_speed(step_s):
        steps = [RecordedStep(run_id="r", sample=0, index=i, t_s=i * step_s, step_s=step_s, tokens=1) for i in range(3)]
        with Store.open(tmp_path, read_only=False) as store, store.transaction():
            store.remove("r")
            store.add(RUN, [Sample(run_id="r", index=0, output_tokens=3)], steps)

    for step_s in (1.0, 0.5):
        write_speed(step_s)
        with Store.open(tmp_path) as store:
            assert store.query("SELECT decode_tokens_per_s FROM run_metrics")[1] == [(1 / step_s,)]
            kept = store.dicts("SELECT * FROM sample_facts")
            assert repr(kept) == repr(store.dicts(f"SELECT * FROM ({FACTS_SQL})")) and len(kept) == 1


HOLD = (
    "import sys, pathlib; from decodebench.core.records.store import Store\n"
    "s = Store.open(pathlib.Path(sys.argv[1]), read_only=False); print('open', flush=True); "
)


def test_a_lock_that_is_let_go_is_waited_for(tmp_path):
    code = HOLD + "sys.stdin.readline(); s.close()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with ThreadPoolExecutor() as pool:
            opening = pool.submit(Store.open, tmp_path)
            assert not wait([opening], timeout=0.3).done
            print(file=other.stdin, flush=True)
            opening.result(timeout=20).close()


def test_a_locked_store_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "STORE_WAIT_S", 0.1)
    code = HOLD + "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        for action in (lambda: Store.open(tmp_path), lambda: Store.open(tmp_path, read_only=False)):
            with refused("store-in-use"):
                action()
        with refused("store-in-use"):
            discard(tmp_path)
        other.stdin.close()
        other.wait()


def test_many_steps_are_inserted_in_bulk(tmp_path):
    samples = [Sample(run_id="r", index=i, output_tokens=1000) for i in range(20)]
    steps = [
        RecordedStep(run_id="r", sample=i, index=j, t_s=j, step_s=1.0, tokens=1, token_ids=(j,), text="x")
        for i in range(20)
        for j in range(1000)
    ]
    start = time.perf_counter()
    write(tmp_path, samples=samples, steps=steps)
    assert time.perf_counter() - start < 3.0  # row by row it takes ten seconds
