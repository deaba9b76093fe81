"""The bulk reader against ``raw_log``: what it takes in is what that would read, and nothing that it refuses."""

import itertools
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.store_update import bulk
from decodebench.core.errors import DecodebenchError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records import raw_log as rawlog
from decodebench.core.records.schema import RecordedStep
from decodebench.core.records.store import Store

HEAD = {
    "schema": 1, "run_id": "r", "experiment": "e", "cell_id": "c", "round": 0, "started_at": "2026-01-01",
    "backend": "b", "model": "m", "quantisation": "f16", "device": "cpu", "samples": 2, "warmup": 0,
    "max_new_tokens": 8,
}  # fmt: skip
STEP = {
    "t_s": "0.5", "step_s": "1e-05", "tokens": "1", "token_ids": "[3, -1]", "text": '" né\\n\\u0041"',
    "block_size": "8", "drafted": "null", "forwards": "1", "bytes_read": "123456789012", "positions": "[0]",
    "trace": '{"kind": "full", "confidences": [0.5, 1e-07, null], "k": [[1, 2], []]}',
}  # fmt: skip
TOKENS = (
    "NaN", "Infinity", "-Infinity", "-1", "-0", "-0.0", "0", "1", "1.0", "1.5", "1e0", "1e5", "1E+2", "1e999", "1e-400",
    "9007199254740993", "999999999999999999", "9223372036854775807", "9223372036854775808", "1" + "0" * 30, "01", "1.",
    ".5", "+1", "0.1000000000000000055511151231257827021181583404541015625", "true", "false", "null", "[]", "{}", "[1]",
    "[1.0]", "[-1, 2]", "[true]", '["1"]', "[1,]", "[1 ,2]", "[NaN]", "[null]", '""', '"1"', '"1.5"', '"x"',
    '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\uD7ff\\ue000"', '"\\x"', '"\t"', '"\x7f\u2028\U0001f600"', "'x'",
    '{"a": 1, "a": 2}', '{"a": {"b": 1}}', '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1e400}', '{"a": 1,}',
    '{"": [[[]]]}', '{"a\\u0062": 1}', "{1: 2}", "1 /* */", "",
)  # fmt: skip


def text_of(pairs):
    return "{" + ", ".join(f'"{name}": {token}' for name, token in pairs) + "}"


def step_line(sample, index, **tokens):
    return text_of({"type": '"step"', "sample": str(sample), "index": str(index), **STEP, **tokens}.items())


def log_lines():
    lines = [json.dumps({"type": "run", **HEAD}), '{"type": "load", "load_s": 1.0}']
    for sample in range(2):
        lines.append(json.dumps({"type": "sample", "index": sample, "output_tokens": 4, "text": "é"}))
        lines += [step_line(sample, index) for index in range(2)]
    return [*lines, '{"type": "score", "index": 1, "score": 1.0}', '{"type": "end", "status": "ok"}']


STEP_LINES = [3, 4, 6, 7]


@st.composite
def hostile(draw):
    """One log, as bytes, with up to three things that are wrong or merely unusual."""
    lines, end = log_lines(), "\n"
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.sampled_from([line for line in STEP_LINES if line < len(lines)]))
        what = draw(st.integers(0, 9))
        fields = [name for name in RecordedStep.model_fields if name != "run_id"]
        if what <= 3:
            name, token = draw(st.sampled_from(fields)), draw(st.sampled_from(TOKENS))
            pairs = {"type": '"step"', "sample": "0", "index": str(at), **STEP}
            order = {field: pairs.get(field, "null") for field in ("type", *fields) if field in pairs or field == name}
            lines[at] = text_of((order | {name: token}).items())
        elif what == 4:
            dropped = draw(st.sampled_from(["type", "sample", "index", *STEP]))
            pairs = {"type": '"step"', "sample": "1", "index": str(at), **STEP}
            lines[at] = text_of((name, token) for name, token in pairs.items() if name != dropped)
        elif what == 5:
            lines[at] = lines[at][:-1] + draw(
                st.sampled_from(
                    [', "x": 1}', ', "tokens": 1}', ', "Text": ""}', ', "run_id": "s"}', ",}", "}}", "", " }"]
                )
            )
        elif what == 6:
            lines.insert(
                draw(st.integers(0, len(lines))), draw(st.sampled_from([lines[at], "", "{}", step_line(7, 0)]))
            )
        elif what == 7:
            lines[at] = draw(st.sampled_from([lines[at] + "\r", " " + lines[at], lines[at].replace(" ", ""), "[]"]))
        elif what == 8:
            del lines[draw(st.integers(0, len(lines) - 1))]
        else:
            end = draw(st.sampled_from(["", "\n\n", "\r\n", "\n{"]))
    data = bytearray(("\n".join(lines) + end).encode())
    where = draw(st.one_of(st.none(), st.integers(0, len(data) - 1)))
    if where is not None and draw(st.booleans()):
        data[where] = draw(st.sampled_from(b'\x00\xff\xed"\\ }{,0'))
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])) + bytes(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("store"), read_only=False) as opened:
        yield opened


def read(path):
    """Return what ``raw_log`` and the store's own checks make of a file; None where they refuse it."""
    try:
        log = rawlog.read(path)
    except DecodebenchError:
        return None
    samples, steps = {s.index for s in log.samples}, {(s.sample, s.index) for s in log.steps}
    is_whole = len(samples) == len(log.samples) and len(steps) == len(log.steps)
    return log if is_whole and all(sample in samples for sample, _ in steps) else None


def plain(value):
    return json.loads(value) if isinstance(value, str) else value


def staged_steps(store, path):
    rows = store.dicts("SELECT number, step.* FROM staged WHERE file = ? AND step IS NOT NULL ORDER BY 1", [str(path)])
    return [{**row, "trace": plain(row["trace"])} for row in rows]


def expected_steps(log):
    return [
        {
            "number": step.source_line,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in step.model_dump().items()
               if k not in ("run_id", "source_line")},
        }
        for step in log.steps
    ]  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=st.lists(hostile(), min_size=20, max_size=40))
def test_bulk_accepts_nothing_that_python_refuses_and_reads_the_same(store, tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("logs")
    paths = [folder / f"{i}.jsonl" for i in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    staged = bulk.stage(store, paths)
    for path, log in staged.items():
        expected = read(path)
        assert expected is not None, path.read_bytes()
        assert (log.run, log.samples, log.problem) == (expected.run, expected.samples, expected.problem)
        assert repr(staged_steps(store, path)) == repr(expected_steps(expected)), path.read_bytes()


def test_every_token_in_every_kind_of_field(store, tmp_path):
    paths = []
    for name, token in itertools.product(["t_s", "tokens", "token_ids", "text", "trace"], TOKENS):
        lines = log_lines()
        lines[3] = step_line(0, 0, **{name: token})
        paths.append(tmp_path / f"{len(paths)}.jsonl")
        paths[-1].write_text("\n".join(lines) + "\n")
    staged = bulk.stage(store, paths)
    assert len(staged) >= 25, "as many are ordinary"
    for path in paths:
        expected = read(path)
        if path in staged:
            assert expected is not None, path.read_text()
            assert repr(staged_steps(store, path)) == repr(expected_steps(expected)), path.read_text()


def test_what_a_round_writes_is_read_in_bulk(store, tmp_path):
    """Every field of a step that the schema has, in the order in which a worker sends them."""
    step = RecordedStep(
        run_id="r", sample=0, index=0, t_s=1e-9, step_s=math.pi, tokens=2, token_ids=(1, 2), text='"\\\n\x7f😀',
        block_size=1, drafted=2, accepted=1, discarded=0, candidates=1, forwards=1, draft_s=0.1, verify_s=1e-05,
        wire_s=1e16, enqueue_s=0.0, engine_s=1.0, bytes_read=2**52, positions=(3, 1), trace={"a": [1.5, "x"]},
    )  # fmt: skip
    path = tmp_path / "it's.jsonl"
    with rawlog.RawLogWriter(path) as log:
        log.write("run", HEAD)
        log.write("sample", {"index": 0, "output_tokens": 2})
        log.write("step", step.model_dump(exclude={"run_id", "source_line"}))
        log.write("end", {"status": "ok"})
        log.close()
    assert list(bulk.stage(store, [path])) == [path]
    assert repr(staged_steps(store, path)) == repr(expected_steps(rawlog.read(path)))


def test_files_that_bulk_cannot_name_or_decode_keep_no_other_from_it(store, tmp_path):
    good = tmp_path / "good.jsonl"
    good.write_text("\n".join(log_lines()) + "\n")
    names = ("a*.jsonl", "a[1].jsonl", "cut.jsonl")
    for name in names:
        (tmp_path / name).write_bytes(good.read_bytes()[: -1 if name == "cut.jsonl" else None])
    assert list(bulk.stage(store, [good, *(tmp_path / name for name in names)])) == [good]
    assert bulk.stage(store, [tmp_path / "gone.jsonl"]) == {}


def test_both_ways_make_the_same_store(make_logs, tmp_path, monkeypatch):
    logs = make_logs(tmp_path / "a")
    logs.speeds("a", [0.1, 0.2])
    logs.write("b", scores=[1.0, 0.0])
    logs.write("c", content=[])
    collate(logs.folder, all_plugins())
    contents = []
    for stage in (bulk.stage, lambda *_: {}):
        monkeypatch.setattr(bulk, "stage", stage)
        collate(logs.folder, all_plugins(), rebuild=True)
        with Store.open(logs.folder) as store:
            tables = ("runs", "samples", "steps", "sample_facts", "sources")
            contents.append([sorted(map(repr, store.dicts(f"SELECT * FROM {table}"))) for table in tables])
    assert contents[0] == contents[1] and len(contents[0][2]) == 2 * 3 * 6 + 10
