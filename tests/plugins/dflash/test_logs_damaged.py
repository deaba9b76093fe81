"""Files that were cut or changed anywhere: read consistently, or refused in one line; never half of one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.plugins.dflash.logs import LOG_PARSERS

from ...at_night import examples
from ...damage import PLACE, mutated, mutations

DATA = Path(__file__).parents[2] / "data" / "dflash"
FILES = sorted(path for path in DATA.iterdir() if path.suffix != ".md" and path.name != "published_configs.json")
PARSERS = {path: next(p for p in LOG_PARSERS if p().matches(path, path.read_bytes()[:HEAD_BYTES])) for path in FILES}

PIECE = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.sampled_from([b"NaN", b"null", b"1e999", b"-1", b"9" * 30, b"0", b'"', b"[", b"}", b",", b"\n", b"\r", b"true"]),
    st.sampled_from([b'"\\ud800"', b'"\\u0000"', b"[bs=8] ", b"Baseline TPOT: ", b"TTFT: nan\n", b"{1: 2}", b"\xc3"]),
)
MUTATION = mutations(PIECE)


def check(records):
    """Hold what was read against the promises of a parser."""
    runs, samples, steps = {}, {}, {}
    for record in records:
        record.model_dump_json()
        if isinstance(record, Run):
            assert record.run_id not in runs
            runs[record.run_id] = record
        elif isinstance(record, Sample):
            assert record.run_id in runs and (record.run_id, record.index) not in samples
            samples[record.run_id, record.index] = record
        else:
            assert isinstance(record, RecordedStep)
            steps.setdefault((record.run_id, record.sample), []).append(record)
    assert runs
    for key, of_one in steps.items():
        assert [step.index for step in of_one] == list(range(len(of_one)))
        assert sum(step.tokens for step in of_one) == samples[key].output_tokens
    for run in runs.values():
        assert (run.status == "ok") == (run.reason is None)
        assert (run.samples or 0) < 10**9


@settings(max_examples=examples(600), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(FILES), mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_file_is_read_consistently_or_refused_in_one_line(tmp_path, path, mutations):
    data = path.read_bytes()
    for mutation in mutations:
        data = mutated(data, *mutation)
    damaged = tmp_path / path.name
    damaged.write_bytes(data)
    for parser in LOG_PARSERS:
        assert parser().matches(damaged, data[:HEAD_BYTES]) in (True, False)
    try:
        records = list(PARSERS[path]().read(damaged))
    except RawLogError as error:
        assert str(error).startswith(str(damaged)) and "\n" not in str(error)
        return
    check(records)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(FILES), place=PLACE)
def test_a_file_cut_at_any_byte_is_whole_up_to_there_and_said_to_be_cut(tmp_path, path, place):
    data = path.read_bytes()[: int(place * path.stat().st_size)]
    damaged = tmp_path / path.name
    damaged.write_bytes(data)
    try:
        records = list(PARSERS[path]().read(damaged))
    except RawLogError as error:
        assert not data, error
        return
    check(records)
    whole = list(PARSERS[path]().read(path))
    is_row_end = data.endswith((b"\n", b"}"))
    incomplete = [r for r in records if isinstance(r, Run) and r.status == "incomplete"]
    assert incomplete or is_row_end
    assert sum(isinstance(r, Sample) for r in records) <= sum(isinstance(r, Sample) for r in whole)
