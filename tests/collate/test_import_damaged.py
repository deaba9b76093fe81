"""Every log format with its files cut or changed anywhere: read consistently, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.parsers.foreign import recognise
from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import RecordedStep, Run, Sample

from ..at_night import examples
from ..damage import mutated, mutations

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers


def owner(path):
    """The format that claims a file, or the first of those that share a page; None where it is no log."""
    try:
        return recognise(path, PARSERS)[0]
    except RawLogError as error:
        assert "recognised as" not in str(error), error
        return None


EXAMPLES = {}
for _path in sorted(path for path in DATA.rglob("*") if path.is_file()):
    if _name := owner(_path):
        EXAMPLES.setdefault(_name, []).append(_path)
SHORTEST = [(name, min(paths, key=lambda path: path.stat().st_size)) for name, paths in sorted(EXAMPLES.items())]
ALL = [(name, path) for name, paths in sorted(EXAMPLES.items()) for path in paths if path.stat().st_size < 40_000]

PIECE = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.sampled_from([b"NaN", b"null", b"1e999", b"-1", b"9" * 30, b"0", b'"', b"[", b"}", b",", b"\n", b"\r", b"true"]),
    st.sampled_from([b'"\\ud800"', b'"\\u0000"', b"|", b"'", b"inf", b"{1: 2}", b"\xc3", b"[" * 3000, b"1" * 5000]),
)
MUTATION = mutations(PIECE)


def check(records):
    """Hold what was read against the promises of a parser."""
    runs, samples, steps = {}, set(), {}
    for record in records:
        type(record).model_validate(json.loads(record.model_dump_json()))
        if isinstance(record, Run):
            assert record.run_id not in runs
            runs[record.run_id] = record
        elif isinstance(record, Sample):
            assert record.run_id in runs and (record.run_id, record.index) not in samples
            samples.add((record.run_id, record.index))
        else:
            assert isinstance(record, RecordedStep) and (record.run_id, record.sample) in samples
            steps.setdefault((record.run_id, record.sample), []).append(record.index)
    assert runs or not records  # the host refuses a file without a run
    assert all(indices == list(range(len(indices))) for indices in steps.values())
    assert all((run.status == "ok") == (run.reason is None) for run in runs.values())


def read_or_refuse(name, path, data, *, folder):
    damaged = folder / path.name
    damaged.write_bytes(data)
    for parser in PARSERS.values():
        assert parser().matches(damaged, data[:HEAD_BYTES]) in (True, False)
    try:
        records = list(PARSERS[name]().read(damaged))
    except RawLogError as error:
        assert str(error).startswith(str(damaged)) and "\n" not in str(error)
        return
    check(records)


def test_every_format_has_an_example_and_no_file_has_two_formats():
    assert set(PARSERS) == set(EXAMPLES)


@pytest.mark.parametrize(("name", "path"), ALL, ids=lambda value: value if isinstance(value, str) else value.name)
def test_an_example_is_read_whole(name, path):
    check(list(PARSERS[name]().read(path)))


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(example=st.sampled_from(SHORTEST), mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_file_is_read_consistently_or_refused_in_one_line(tmp_path, example, mutations):
    name, path = example
    data = path.read_bytes()
    for mutation in mutations:
        data = mutated(data, *mutation)
    read_or_refuse(name, path, data, folder=tmp_path)


@pytest.mark.parametrize(("name", "path"), SHORTEST, ids=[name for name, _ in SHORTEST])
def test_what_is_no_such_file_at_all_is_refused_in_one_line(tmp_path, name, path):
    text = path.read_bytes()
    for data in (
        b"",
        b"\0" * 100,
        bytes(range(256)),
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe" + text,
        b"\n" * 50,
    ):
        damaged = tmp_path / path.name
        damaged.write_bytes(data)
        with pytest.raises(RawLogError) as refused:
            records = list(PARSERS[name]().read(damaged))
            assert all(run.status != "ok" for run in records if isinstance(run, Run))
            raise RawLogError(f"{damaged}: nothing in it was taken for a finished run")
        assert str(refused.value).startswith(str(damaged)) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "path"), SHORTEST, ids=[name for name, _ in SHORTEST])
def test_other_line_ends_and_encodings_change_nothing(tmp_path, name, path):
    expected = [record.model_dump(exclude={"run_id"}) for record in PARSERS[name]().read(path)]
    text = path.read_bytes().decode().replace("\r\n", "\n")
    for data in (
        text.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text.encode("utf-32"),
    ):
        other = tmp_path / path.name
        other.write_bytes(data)
        assert PARSERS[name]().matches(other, data[:HEAD_BYTES])
        assert [record.model_dump(exclude={"run_id"}) for record in PARSERS[name]().read(other)] == expected
