import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.core.records import raw_log as rawlog
from decodebench.core.records.raw_log import RawLogError, RawLogWriter

HEAD = {
    "schema": 1, "run_id": "r", "experiment": "e", "cell_id": "c", "round": 0, "started_at": "2026-01-01",
    "backend": "b", "model": "m", "quantisation": "f16", "device": "cpu", "samples": 2, "warmup": 0,
    "max_new_tokens": 8,
}  # fmt: skip


def write(path):
    with RawLogWriter(path) as log:
        log.write("run", HEAD)
        log.write("load", {"load_s": 1.0, "options": {"a": 1}})
        for i in range(2):
            log.write("sample", {"index": i, "output_tokens": 2, "text": "é😀"})
            for j in range(2):
                log.write("step", {"sample": i, "index": j, "t_s": j, "step_s": 1.0, "tokens": 1, "text": "😀"})
        log.write("score", {"index": 1, "score": 1.0, "extracted": "4"})
        log.write("end", {"status": "ok", "peak_rss_bytes": 5})
        assert log.part.exists()
        log.close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("raw") / "log.jsonl")


def test_a_whole_log_is_read_with_load_end_and_scores_joined(whole):
    log = rawlog.read(whole)
    assert log.problem is None
    assert (log.run.status, log.run.load_s, log.run.peak_rss_bytes) == ("ok", 1.0, 5)
    assert [sample.score for sample in log.samples] == [None, 1.0]
    assert len(log.steps) == 4


def test_a_log_cut_at_any_byte_is_read_to_its_last_whole_line(whole, tmp_path):
    data = whole.read_bytes()
    path = tmp_path / "cut.jsonl.part"
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        kinds = [json.loads(line)["type"] for line in data[:end].split(b"\n")[:-1]]
        if not kinds:
            with pytest.raises(RawLogError):
                rawlog.read(path)
            continue
        log = rawlog.read(path)
        assert (len(log.samples), len(log.steps)) == (kinds.count("sample"), kinds.count("step"))
        assert (log.run.status == "ok") == ("end" in kinds)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_bytes_raise_nothing_but_a_raw_log_error(whole, data):
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = whole.with_name("mutated.jsonl")
    path.write_bytes(content)
    try:
        log = rawlog.read(path)
    except RawLogError as error:
        assert str(error).startswith(f"{path}:")
    else:
        assert len(log.samples) <= len(rawlog.read(whole).samples), "a sample was invented"


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"score"}', '{"type":"score","index":[]}', '{"type":"sample","index":{}}', '{"type":["step"]}', "[]",
        "[" * 100_000, '{"type":"step","sample":0}', '{"type":"run","schema":1}',
        '{"type":"sample","index":0,"score":NaN}',
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(whole, tmp_path, line):
    path = tmp_path / "wrong.jsonl"
    head, rest = whole.read_bytes().split(b"\n", 1)
    path.write_bytes(head + b"\n" + line.encode() + b"\n" + rest)
    with pytest.raises(RawLogError, match=r"wrong\.jsonl:2"):
        rawlog.read(path)


@pytest.mark.parametrize(
    ("line", "text"), [('{"type":"run","schema":99}', "version 99"), ('{"type":"load"}', "not a decodebench raw log")]
)
def test_another_version_or_format_is_refused(tmp_path, line, text):
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RawLogError, match=text):
        rawlog.read(path)


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    log = RawLogWriter(tmp_path / "log.jsonl")
    log.write("run", HEAD)

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:5])

        def __getattr__(self, name):
            return getattr(self.file, name)

    before = log.part.read_bytes()
    whole_file = log._file
    log._file = Full(whole_file)
    with pytest.raises(OSError):
        log.write("load", {"load_s": 1.0})
    log._file = whole_file
    assert log.part.read_bytes() == before
    log.write("load", {"load_s": 2.0})
    log.abandon()
    assert rawlog.read(log.part).run.load_s == 2.0
