"""The prototype's result files: read, judged, written; and what our own runs write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.collate.speculation.distribution import buckets, reading
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run
from decodebench.plugins.draft_target.logs.gsm8k_benchmark import Gsm8kBenchmark

DATA = Path(__file__).parents[2] / "data" / "draft_target"
LOST, SAME, OTHER = (DATA / f"gsm8k_benchmark_{number}.json" for number in (1771062148, 1771062794, 1771064002))


def read(path):
    run, *samples = Gsm8kBenchmark().read(path)
    return run, samples


@pytest.fixture(scope="module")
def imported(cli_for, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    cli = cli_for(folder)
    ended = cli("collate", folder, "--import", DATA, "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["added"]) == 3
    return cli, folder


def test_files_are_recognised_by_content(tmp_path):
    parser = Gsm8kBenchmark()
    for path in (LOST, SAME, OTHER):
        assert parser.matches(path, path.read_bytes()[:65536])
    other = tmp_path / "other.json"
    other.write_text('{"config": {}, "results": []}')
    assert not parser.matches(other, other.read_bytes())


def test_what_a_file_says_is_what_is_read():
    run, samples = read(OTHER)
    assert (run.model, run.options["draft"]) == ("Qwen/Qwen2.5-3B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct")
    assert (run.status, run.max_new_tokens, run.started_at[:10]) == ("ok", 512, "2026-02-14")
    assert len(samples) == 10
    told = json.loads(OTHER.read_text())
    assert sum(sample.output_tokens for sample in samples) == told["summary"]["total_tokens"]
    assert sum(s.engine["draft_tokens"] for s in samples) == told["summary"]["total_draft_generated"]
    assert samples[0].duration_s == pytest.approx(10.0993, abs=1e-4)
    assert samples[0].reference == "72"


def test_failures_that_were_recorded_as_successes_are_failures():
    run, samples = read(LOST)
    assert run.status == "failed"
    assert "all 10 questions failed" in run.reason
    assert {sample.status for sample in samples} == {"failed"}


def test_the_summary_recomputes_from_the_rows(imported):
    cli, folder = imported
    rows = cli(
        "query",
        "SELECT options->>'draft' AS draft, e2e_tokens_per_s, acceptance_rate, tau FROM run_metrics "
        "WHERE status = 'ok' ORDER BY draft DESC",
        folder,
        "--json",
    ).rows
    assert [round(row[1], 2) for row in rows] == [8.63, 15.93]  # tokens / summed time, not the stored mean of rates
    assert [row[2] for row in rows] == [1.0, 1.0]
    assert rows[1][3] == pytest.approx(1740 / 350, abs=0.2)


def test_findings_see_that_nothing_was_verified(imported):
    cli, folder = imported
    lines = cli("findings", folder, "--details").out.splitlines()
    text = " ".join(" ".join(lines).split())
    for words in (
        "all 10 questions failed: 5 tokens were drafted and none came out",
        "every one of 5120 drafted tokens in 10 samples was accepted",
        "every one of 1738 drafted tokens",
        "all 10 texts differ: the text follows the draft, so the verifier was not effective",
        "5 of 10 samples took far more verify cycles than their drafts need",
        "one more in 2 of 10 samples, an end token",
    ):
        assert words in text, words


def test_the_speculation_report_spreads_the_samples(imported):
    cli, folder = imported
    cells = cli("speculation", folder, "--json").json["cells"]
    spreads = [cell["spread"] for cell in cells if cell["spread"]]
    assert [[bucket["samples"] for bucket in spread["buckets"]] for spread in spreads] == [[0, 0, 0, 0, 10]] * 2
    assert [spread["reading"] for spread in spreads] == ["excellent"] * 2
    assert "Very High" in cli("speculation", folder).out


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_buckets_hold_every_rate(rates):
    found = buckets(rates)
    assert sum(bucket.samples for bucket in found) == len(rates)
    assert sum(bucket.share for bucket in found) == pytest.approx(1)
    assert [bucket.name for bucket in found] == ["Very Low", "Low", "Medium", "High", "Very High"]


def test_edges_of_buckets_and_readings():
    counts = [[b.samples for b in buckets([rate])].index(1) for rate in (0, 0.249, 0.25, 0.5, 0.75, 0.9, 1.0)]
    assert counts == [0, 0, 1, 2, 3, 4, 4]
    assert [reading(rate) for rate in (0.95, 0.9, 0.8, 0.5, 0.1)] == ["excellent", "excellent", "good", "fair", "poor"]


def test_a_file_comes_back_as_it_was_with_its_unknown_keys(cli, tmp_path):
    content = json.loads(OTHER.read_text())
    content["config"] |= {"dataset": "gsm8k", "router": {"hops": 2}}
    content["summary"]["optimistic_hits"] = 7
    content["results"][0]["timing_draft_ms"] = [1.5, 2.5]
    content["baseline"] = {"baseline_avg_tps": 3.5}
    source = tmp_path / "in" / OTHER.name
    source.parent.mkdir()
    source.write_text(json.dumps(content))
    assert cli("collate", tmp_path / "store", "--import", source).code == 0
    ended = cli("export", tmp_path / "store", "--format", "gsm8k-benchmark")
    assert ended.code == 0, ended.err
    (written,) = (tmp_path / "store").glob("gsm8k_benchmark_*.json")
    assert written.name == OTHER.name
    back = json.loads(written.read_text())
    assert set(back) == set(content)
    assert back["config"] == content["config"]
    for ours, theirs in zip(back["results"], content["results"], strict=True):
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key
    for key, value in content["summary"].items():
        assert back["summary"][key] == pytest.approx(value, rel=0.05), key  # total_time held the pauses between


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["results"][3].update(draft_accepted=10**6), "results[3].draft_accepted"),
        (lambda c: c["results"][0].pop("generation_time_ms"), "results[0].generation_time_ms"),
        (lambda c: c["results"][0].update(total_tokens=-1), "results[0].total_tokens"),
        (lambda c: c["config"].update(max_tokens="many"), "config.max_tokens"),
        (lambda c: c.update(results={}), "results"),
    ],
)
def test_a_bad_value_names_its_field(tmp_path, change, words):
    content = json.loads(SAME.read_text())
    change(content)
    path = tmp_path / SAME.name
    path.write_text(json.dumps(content))
    with pytest.raises(RawLogError) as caught:
        read(path)
    assert words in str(caught.value)


@given(st.integers(0, 20_000))
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path_factory, end):
    path = tmp_path_factory.mktemp("cut") / SAME.name
    data = SAME.read_bytes()
    path.write_bytes(data[:end])
    try:
        run, samples = read(path)
    except RawLogError as error:
        assert str(path) in str(error)
    else:
        assert isinstance(run, Run) and len(samples) == 10 and end >= len(data.rstrip())


@pytest.mark.nightly
def test_our_own_run_is_written_and_read_back(cli, tmp_path):
    run = ["run", "-b", "draft-target", "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 3, "--rounds", 1]
    ended = cli(*run, "--set", "n_threads=1", "--set", "num_draft_tokens=0,4", "-o", tmp_path, "--show-log")
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("question")]
    assert len(lines) == 2 * 4  # warm-up included
    assert "acceptance" in lines[0] and "verify cycles" in lines[0]
    speculation = cli("speculation", tmp_path, "--json").json
    drafted = speculation["cells"][1]
    assert sum(bucket["samples"] for bucket in drafted["spread"]["buckets"]) == 3
    prediction = speculation["pairs"][0]["prediction"]
    assert prediction["draft_tokens"] == pytest.approx(4, abs=0.3)
    assert prediction["measured"] == pytest.approx(prediction["measured_cost"], rel=0.15)
    assert prediction["leviathan"] > 0 and prediction["rule_of_thumb"] > 0
    assert cli("export", tmp_path, "--format", "gsm8k-benchmark").code == 0
    files = sorted(tmp_path.glob("gsm8k_benchmark_*.json"))
    assert len(files) == 2
    contents = [json.loads(file.read_text()) for file in files]
    (content,) = (c for c in contents if c["summary"]["total_draft_generated"])
    assert content["config"]["target_model"] == "tiny:target"
    assert content["config"]["options"]["num_draft_tokens"] == 4
    row = content["results"][0]
    # The first token is the prefill's, and a text may end with an accepted token instead of the target's own.
    assert row["total_tokens"] - row["draft_accepted"] - row["speculation_rounds"] in (0, 1)
    again = tmp_path / "again"
    again.mkdir()
    for file in files:
        shutil.copy(file, again)
    assert cli("collate", tmp_path / "other", "--import", again, "--json").json["added"][1:] != []
