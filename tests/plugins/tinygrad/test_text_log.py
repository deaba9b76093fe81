"""The tinygrad text log: real logs to exact figures, headers anywhere, texts of any kind, damaged files refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.plugins.tinygrad.text_log import TinygradTextLog

DATA = Path(__file__).parents[2] / "data" / "tinygrad"
FLOAT16 = DATA / "softmacs_1B_float16_seed42_uuid3cffbfe6.txt"
NF4 = DATA / "softmacs_1B_nf4_seed42_uuiddb75ccab.txt"
CRASHED = DATA / "softmacs_1B_fp8_seed42_uuidb671f8e3.txt"

HEADER = """\
platform: Darwin
release: 25.1.0
device: METAL
username: someone
hostname: laptop
size: 1B
quantize: int8
seed: 7
uuid: uuid6f9e9998
"""
PREAMBLE = "seed = 7\nloaded weights in 4639.73 ms, 4.94 GB loaded at 1.07 GB/s\n"


def step(text, total_ms=40.0, enqueue_ms=1.16, tail=""):
    """One step as the engine prints it, with 100 GB/s moved and 3 GB of weights."""
    rates = f"{1e3 / total_ms:.2f} tok/s, 100.00 GB/s, param {3e3 / total_ms:.2f} GB/s"
    return f"enqueue in {enqueue_ms:6.2f} ms{tail}\ntotal {total_ms:6.2f} ms, {rates}\n{text}\n"


def read(path):
    """Return (run, samples, steps) of the only run of a file."""
    run, *rest = TinygradTextLog().read(path)
    assert isinstance(run, Run)
    return run, [r for r in rest if isinstance(r, Sample)], [r for r in rest if isinstance(r, RecordedStep)]


@pytest.fixture
def log(tmp_path):
    """Write a log and read it; ``data`` may be bytes."""

    def write(data, name="log.txt"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(path)

    return write


@pytest.mark.parametrize("path", [FLOAT16, NF4], ids=["float16", "nf4"])
def test_every_printed_figure_of_a_real_log_comes_back_at_its_two_decimals(path):
    run, (sample,), steps = read(path)
    with path.with_suffix(".csv").open(newline="") as file:
        published = list(csv.DictReader(file))
    assert len(steps) == sample.output_tokens == len(published) == 20
    for row, found in zip(published, steps, strict=True):
        seconds = found.step_s
        figures = {
            "step": found.index + 1,
            "enqueue_latency_ms": round(found.enqueue_s * 1e3, 2),
            "total_latency_ms": round(seconds * 1e3, 2),
            "tokens_per_sec": round(found.tokens / seconds, 2),
            "memory_throughput_gb_s": round(found.bytes_read / seconds / 1e9, 2),
            "param_throughput_gb_s": round(run.weight_bytes * found.forwards / seconds / 1e9, 2),
        }
        assert figures == {name: float(row[name]) for name in figures}
        assert round(found.engine_s * 1e3, 2) == float(row["total_latency_ms"])
        assert float(row["tokens_per_sec"]) * found.engine_s == pytest.approx(1, rel=7e-4)
    assert sample.duration_s == pytest.approx(steps[-1].t_s) == pytest.approx(sum(s.step_s for s in steps))


@pytest.mark.parametrize(
    ("path", "quantisation", "weight_bytes", "load_s", "ending"),
    [
        (FLOAT16, "float16", 3.001e9, 7.42571, "today?assistant\n\nI can provide information and entertainment"),
        (NF4, "nf4", 2.623e9, None, "today?assistant\n\nHello! I'm just a"),
    ],
    ids=["float16", "nf4"],
)
def test_a_real_log_yields_its_run_and_the_text_that_each_step_added(path, quantisation, weight_bytes, load_s, ending):
    run, (sample,), steps = read(path)
    assert (run.status, run.backend, run.quantisation, run.seed) == ("ok", "tinygrad", quantisation, 42)
    assert (run.run_id, run.size, run.model) == (path.stem[-12:], "1B", "1B")
    assert run.environment.hostname == "softmacs"
    assert run.weight_bytes == pytest.approx(weight_bytes, rel=3e-4)
    assert run.load_s == pytest.approx(load_s)
    assert (run.bits_per_weight, run.parameters) == ((16.0, 1_235_000_000) if load_s else (None, None))
    assert any("parameters are estimated" in note for note in run.notes) == bool(load_s)
    assert not run.first_step_is_prefill
    assert sample.text.endswith(ending)
    assert "".join(found.text for found in steps) == sample.text
    assert [found.text for found in steps[:3]] == ["Hello", "!", " How"]
    assert [found.text for found in steps[9:14]] == ["", "", "assistant", "", "\n\n"]


def test_what_a_real_log_does_not_tell_is_said_in_notes():
    notes = "\n".join(read(NF4)[0].notes)
    for words in (
        "from the file's name, since the log has no such header line: hostname, size, quantize, uuid",
        "neither in the log nor in the file's name: platform, release, device, username",
        "names no model",
        "two decimals",
        "not a prefill",
        "load time unknown",
    ):
        assert words in notes


def test_a_crashed_run_is_a_failed_run_without_samples():
    run, samples, steps = read(CRASHED)
    assert (run.status, samples, steps) == ("failed", [], [])
    assert run.reason == "no step in the log: the run crashed before its first token"
    assert (run.quantisation, run.run_id, run.seed) == ("fp8", "uuidb671f8e3", 42)


@pytest.mark.parametrize("place", ["top", "end", "middle"])
def test_the_header_is_read_wherever_it_stands(log, place):
    steps = step("Hello") + "{}" + step("Hello there")
    text = {
        "top": HEADER + PREAMBLE + steps.format(""),
        "end": PREAMBLE + steps.format("") + HEADER,
        "middle": PREAMBLE + steps.format(HEADER),
    }[place]
    run, (sample,), steps = log(text, "other_8B_nf4_seed1_uuid00000000.txt")
    assert (run.run_id, run.size, run.quantisation, run.device) == ("uuid6f9e9998", "1B", "int8", "metal")
    environment = run.environment
    assert (environment.platform, environment.release) == ("Darwin", "25.1.0")
    assert (environment.username, environment.hostname) == ("someone", "laptop")
    assert [found.text for found in steps] == ["Hello", " there"]
    assert sample.text == "Hello there"
    assert not any("file's name" in note for note in run.notes)


def test_a_header_line_that_is_missing_is_taken_from_the_file_name(log):
    header = HEADER.replace("quantize: int8\n", "").replace("username: someone", "username: ")
    run, _, _ = log(header + PREAMBLE + step("Hello"), "my_host_8B_q4f16_1_seed1_uuid00000000.txt")
    assert (run.quantisation, run.size, run.seed) == ("q4f16_1", "1B", 7)
    assert any(note.endswith("no such header line: quantize") for note in run.notes)
    assert any(note.endswith("nor in the file's name: username") for note in run.notes)


@pytest.mark.parametrize(
    "text",
    [
        "items: 20 ms in total",
        "total of 5 ms, or totally",
        "seed the systems",
        "size: x",
        "seed = 9",
        "uuid: 1\nplatform: none",
        "a\n\n\nsize: large\n\n",
        "enqueue in a while",
        " loaded weights in 5 ms",
        "",
    ],
)
def test_any_text_is_text_and_no_metadata(log, text):
    run, (sample,), steps = log(PREAMBLE + step(text) + step(text + " and more") + HEADER)
    assert sample.text == text + " and more"
    assert [found.text for found in steps] == [text, " and more"]
    assert (run.size, run.seed, run.run_id) == ("1B", 7, "uuid6f9e9998")


def test_a_character_of_several_tokens_belongs_to_the_step_that_completes_it(log):
    _, (sample,), steps = log(PREAMBLE + step("caf\ufffd") + step("caf\ufffd\ufffd") + step("café!") + step("café!"))
    assert [found.text for found in steps] == ["caf", "", "é!", ""]
    assert sample.text == "café!"


def test_a_text_that_changes_what_stood_there_has_no_piece_and_a_note(log):
    run, (sample,), steps = log(PREAMBLE + step("Hello") + step("Jello") + step("Jello!"))
    assert [found.text for found in steps] == ["Hello", None, "!"]
    assert sample.text == "Jello!"
    assert any(note.startswith("1 steps print a text that does not extend") for note in run.notes)


def test_debug_tails_and_the_validation_line_are_no_text(log):
    tail = ", 0.50 ms on METAL, 2.47 GOPS, 2.47 GB, 200.00 GB/s, param 150.00 GB/s"
    text = PREAMBLE + step("Hello", tail=tail) + "\x1b[32moutput validated\x1b[0m\n"
    _, (sample,), (only,) = log(text)
    assert (sample.text, only.enqueue_s) == ("Hello", 0.00116)


@pytest.mark.parametrize(
    ("encode", "line_end"),
    [("utf-8", "\n"), ("utf-8", "\r\n"), ("utf-8-sig", "\n"), ("utf-16", "\r\n")],
)
def test_text_files_of_other_systems_read_the_same(log, encode, line_end):
    text = HEADER + PREAMBLE + step("Grüße") + step("Grüße\n\nan")
    data = text.replace("\n", line_end).encode(encode)
    assert TinygradTextLog().matches(Path("x"), data[:HEAD_BYTES])
    assert log(data) == log(text)


@pytest.mark.parametrize(
    ("ending", "n", "reason"),
    [
        ("enqueue in   1.16 ms\n", 2, "without its 'total'"),
        ("enqueue in   1.16 ms\ntotal  40.00 ms, 25.", 2, "inside its line 10, which is left out"),
        ("enqueue in   1.", 2, "inside its line 9, which is left out"),
        ("enqueue in   1.16 ms\n" + step("x").splitlines()[1] + "\n", 3, "before the text of its last step"),
        ("and", 2, "inside its line 9, which is left out"),
    ],
)
def test_a_cut_log_is_incomplete_up_to_its_last_whole_step(log, ending, n, reason):
    run, (sample,), steps = log(PREAMBLE + step("Hello") + step("Hello there") + ending)
    assert run.status == "incomplete" and reason in run.reason
    assert (len(steps), sample.output_tokens, sample.text) == (n, n, "Hello there")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (step("a") + step("a").split("\n", 1)[1], "log.txt:6: field 'total': no 'enqueue' line"),
        ("enqueue in   1.16 ms\n" + step("a"), "log.txt:4: field 'enqueue': the step that line 3 began"),
        (step("a").replace("25.00 tok/s", "26.00 tok/s"), "log.txt:4: field 'tok/s': 26.00 tok/s is not one token"),
        (step("a") + step("b").replace("param 75", "param 85") + step("c"), "log.txt:7: field 'param': 85.00 GB/s"),
    ],
)
def test_figures_that_contradict_one_another_are_refused_with_file_line_and_field(log, text, words):
    with pytest.raises(RawLogError, match="log.txt") as caught:
        log(PREAMBLE + text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"seed = 4\n\xff\n", ":2: byte 0xff"),
        (b"seed = 4\n\n\0\nseed = 5\n", ":3: a NUL byte"),
    ],
)
def test_what_is_no_text_is_refused(log, data, words):
    with pytest.raises(RawLogError) as caught:
        log(data)
    assert words in str(caught.value)


def test_runs_without_a_uuid_are_told_apart_by_content(log):
    first, again, other = (log(PREAMBLE + step(text))[0].run_id for text in ("a", "a", "b"))
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed = 42\n", True),
        (HEADER + "seed = 42\n", True),
        (PREAMBLE, True),
        ("DEBUG line\n" + PREAMBLE + step("Hello"), True),
        ("seed = 42\nrounds = 3\n", False),
        (HEADER, False),
        (HEADER + '{"build_commit":"abc1234","avg_ns":200000000}\n', False),
        ("step,enqueue_latency_ms,total_latency_ms\n1,20.91,42.54\n", False),
        ("it took 40 ms in total, 25.00 tok/s\n", False),
        ("", False),
        ("\0\1\2", False),
    ],
)
def test_a_log_is_recognised_by_its_content(text, expected):
    assert TinygradTextLog().matches(FLOAT16, text.encode()) is expected


LINES = FLOAT16.read_bytes().splitlines(keepends=True)
POSITION = st.integers(0, len(LINES) - 1)
MUTATION = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, FLOAT16.stat().st_size), st.just(b"")),
    st.tuples(st.just("insert"), st.integers(0, FLOAT16.stat().st_size), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("replace"), st.integers(0, FLOAT16.stat().st_size), st.sampled_from([b"9", b".", b"\n", b"-"])),
    st.tuples(st.just("repeat"), POSITION, st.just(b"")),
    st.tuples(st.just("remove"), POSITION, st.just(b"")),
)


def mutated(data, kind, at, more):
    if kind == "cut":
        return data[:at]
    if kind in ("insert", "replace"):
        return data[:at] + more + data[at + (kind == "replace") :]
    lines = data.splitlines(keepends=True)
    at = min(at, len(lines))
    return b"".join(lines[:at] + (lines[at : at + 1] * 2 if kind == "repeat" else []) + lines[at + 1 :])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_log_is_read_consistently_or_refused(tmp_path, mutations):
    data = FLOAT16.read_bytes()
    for mutation in mutations:
        data = mutated(data, *mutation)
    path = tmp_path / FLOAT16.name
    path.write_bytes(data)
    TinygradTextLog().matches(path, data[:HEAD_BYTES])
    try:
        run, samples, steps = read(path)
    except RawLogError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    assert (run.status == "failed") == (not steps) == (not samples)
    assert [found.index for found in steps] == list(range(len(steps)))
    assert all(abs(found.step_s - found.engine_s) <= 5.001e-6 for found in steps)
    assert all(sample.output_tokens == len(steps) for sample in samples)
