"""Each doubt with data that raise it and data that must not."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from decodebench.collate.collate import collate
from decodebench.collate.findings import findings, markdown
from decodebench.collate.parsers.foreign import Intake
from decodebench.collate.statistics.change_point import change_point
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from .conftest import run_id

TINYGRAD = Path(__file__).parents[1] / "data" / "tinygrad"


def found(logs):
    return "\n".join(text for finding in _all(logs) for text in finding.details or (str(finding),))


def checks(logs, **how):
    """Findings by the name of the check."""
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return {finding.check: finding for finding in findings(store, "exp", **how)}


def test_a_clean_experiment_has_none(logs):
    logs.speeds("a", [0.1, 0.1, 0.1])
    assert found(logs) == ""


def test_unfinished_rounds_with_reasons(logs):
    logs.speeds("a", [0.1, 0.1])
    logs.write("a", 2, status="crashed", reason="signal 9")
    logs.write("a", 3, end=False)
    text = found(logs)
    assert "round 3 of 'a f16' is crashed: signal 9" in text and "round 4 of 'a f16' is incomplete" in text


def test_outlier_and_noise(logs):
    logs.speeds("a", [0.1, 0.101, 0.1, 0.099, 0.3])
    told = checks(logs)
    assert "round 5 of 'a f16' is an outlier" in told["outlier-rounds"].text
    assert "is noisy (CV " in told["variable-rounds"].text
    assert [row.run_id for row in told["outlier-rounds"].rows] == [run_id("a", 4)]


def test_three_rounds_of_which_two_agree_have_no_outlier(logs):
    logs.speeds("a", [0.1, 0.1001, 0.107])
    assert not checks(logs).keys() & {"outlier-rounds", "variable-rounds"}


def test_rounds_that_are_copies_of_one_another(logs, make_sample, make_steps):
    def measured(seed):
        return [make_sample(i, make_steps(gap=0.1 + 0.01 * seed * (i + 0.12345678))) for i in range(2)]

    for index, seed in enumerate((1, 1.7, 1)):
        logs.write("a", index, measured(seed))
    logs.write("b", 0, measured(1.3))
    finding = checks(logs)["copied-rounds"]
    assert finding.severity == "error" and "round 1 of 'a f16' has the times of round 3 of 'a f16'" in finding.text
    assert [row.run_id for row in finding.rows] == [run_id("a", 0), run_id("a", 2)]


def test_rounds_whose_times_were_rounded_may_agree(logs):
    logs.speeds("a", [0.1, 0.101, 0.1])
    assert "copied-rounds" not in checks(logs)


def test_cold_start_and_token_cap(logs, make_sample, make_steps):
    samples = [make_sample(i, make_steps(ttft=2.0 if i == 0 else 0.5), finish="length") for i in range(4)]
    logs.write("a", content=samples, samples=4, task="t", max_new_tokens=5)
    text = found(logs)
    assert "takes 4.0 times as long" in text and "4 of 4 generations hit the limit of 5 tokens" in text


def test_outputs_that_the_context_clipped(logs, make_sample, make_steps):
    clipped = [make_sample(0, make_steps(), finish="length"), make_sample(1, make_steps())]
    logs.write("a", content=clipped, task="t")
    logs.write("b", content=clipped, task="t", max_new_tokens=5)
    told = checks(logs)
    assert told["clipped-outputs"].cells == ("a f16",) and told["capped-outputs"].cells == ("b f16",)
    assert [row.sample for row in told["clipped-outputs"].rows] == [0]


def test_a_limit_of_its_own_that_leaves_room_is_no_clipping(logs, make_sample, make_steps):
    drawn = [make_sample(0, make_steps(), finish="length", token_limit=5, prompt_tokens=10)]
    logs.write("a", content=drawn, task="t", context_length=2048)
    logs.write("b", content=drawn, task="t", context_length=15)
    told = checks(logs)
    assert told["clipped-outputs"].cells == ("b f16",) and "capped-outputs" not in told


def test_many_empty_answers(logs, make_sample, make_steps):
    def texts(*said):
        return [make_sample(i, make_steps(), text=text) for i, text in enumerate(said)]

    logs.write("a", content=texts("", " \n", "", "4"), samples=4)
    logs.write("b", content=texts("", "1", "2", "3"), samples=4)
    finding = checks(logs)["empty-answers"]
    assert finding.text.startswith("'a f16': 3 of 4 answers are empty") and finding.cells == ("a f16",)


def test_a_bandwidth_that_was_measured_under_load(logs, make_sample, make_steps):
    slow, quick = ({"1000": rate, "1000000": rate} for rate in (2e4, 1e6))
    for cell, ladder, marked in (("a", slow, {}), ("b", quick, {}), ("c", slow, {"rates_are_quiet": False})):
        content = [make_sample(i, make_steps(bytes_read=10_000, forwards=1)) for i in range(2)]
        ladders = {"memory_bandwidth": ladder, "memory_bandwidth_1_thread": ladder}
        logs.write(cell, content=content, **host("h", **ladders, **marked))
    told = checks(logs)
    finding = told["bandwidths-too-low"]
    assert finding.cells == ("a f16",) and "reads 5.00 times the memory bandwidth" in finding.text
    marked = told["rates-beside-other-work"]
    assert (marked.cells, marked.severity) == (("c f16",), "warning") and "5.00" in marked.text


def test_an_option_that_changed_nothing(logs):
    logs.speeds("a", [0.1, 0.102, 0.099], backend="x", options={"n": 1, "m": 0})
    logs.speeds("b", [0.101, 0.1, 0.1], backend="x", options={"n": 2, "m": 0})
    assert "option 'n' changed nothing between 1 and 2" in found(logs)


def test_accuracy_lost_with_a_quantisation(logs, make_sample, make_steps):
    problems = [make_sample(i, make_steps()) for i in range(20)]
    common = {"content": problems, "samples": 20, "task": "t", "backend": "x"}
    logs.write("a", scores=[1.0] * 20, **common)
    logs.write("b", scores=[0.0] * 20, quantisation="q2", bits_per_weight=2.5, **common)
    assert "'x q2' loses accuracy: -100.0 points against 'x f16'" in found(logs)


def test_outputs_that_change_between_rounds(logs, make_sample, make_steps):
    for round in range(2):
        logs.write("a", round, [make_sample(0, make_steps(first_id=10 + round)), make_sample(1, make_steps())])
    assert "not deterministic: greedy outputs of 1 of 2 problems" in found(logs)


def test_drift(logs):
    logs.speeds("a", [0.100, 0.105, 0.110, 0.115, 0.121, 0.126])
    assert "drifts" in found(logs)


def test_a_device_that_others_used_is_told(logs):
    for index, others in enumerate((0, 2, 1)):
        logs.write("a", index, device="cuda:0", device_other_processes=others)
        logs.write("b", index, device="cuda:0", device_other_processes=0)
    shared = [line for line in found(logs).splitlines() if "shared" in line]
    assert shared == [
        "2 of 3 rounds of 'a f16' shared cuda:0 with up to 2 other processes; measure again on a free device"
    ]


def host(name, **more):
    return {"environment": {"hostname": name, "cpu_model": "x", **more}}


def test_rounds_that_time_next_to_nothing(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(0, make_steps(ttft=0.01, gap=0.01))])
    logs.write("b", content=[make_sample(0, make_steps(ttft=0.4, gap=0.1))])
    finding = checks(logs)["short-rounds"]
    assert finding.severity == "note" and "'a f16' measures at most 0.05 s of work" in finding.text


def test_a_device_at_a_lower_clock(logs):
    for index, clock in enumerate((1.98e9, 1.2e9, 1.97e9)):
        logs.write("a", index, device="cuda:0", device_clock_hz=clock)
        logs.write("b", index, device="cuda:0", device_clock_hz=1.9e9)
    finding = checks(logs)["throttled-devices"]
    assert "1 of 3 rounds of 'a f16' ran at a lower clock: 1200 MHz, median 1970 MHz" in finding.text
    assert len(finding.rows) == 1


def test_a_governor_that_saves_power(logs):
    logs.write("a", **host("h", governor="powersave"))
    logs.write("b", **host("h", governor="performance"))
    assert checks(logs)["saving-governors"].cells == ("a f16",)


def test_hosts_that_differ_and_hosts_that_do_not(logs):
    logs.write("a", **host("phone"))
    logs.write("b", **host("laptop"))
    assert "2 cells ran on 2 hosts: laptop (1), phone (1)" in checks(logs)["several-hosts"].text


def test_pooling_hosts_reverses_an_order(logs):
    logs.speeds("a1", [0.01, 0.01], backend="a", **host("laptop"))
    logs.speeds("a2", [1.0, 1.0], backend="a", **host("phone"))
    logs.speeds("b", [0.3, 0.3], backend="b", **host("phone"))
    finding = checks(logs)["reversed-by-hosts"]
    assert finding.severity == "error"
    assert "over all hosts, but" in finding.text and "on phone, where both ran" in finding.text


def test_an_order_that_holds_on_every_host_is_no_reversal(logs):
    for cell, gap in (("a", 0.1), ("b", 0.2)):
        for name in ("laptop", "phone"):
            logs.speeds(f"{cell}{name}", [gap, gap], backend=cell, **host(name))
    assert "reversed-by-hosts" not in checks(logs)


def test_failed_samples_and_other_counts(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(0, make_steps()), make_sample(1, [], status="failed", reason="x")])
    logs.write("b", samples=100)
    found = checks(logs)
    assert "1 of 2 samples failed" in found["failed-samples"].text
    assert [row.sample for row in found["failed-samples"].rows] == [1]
    assert "'b f16': 100 samples were requested, 2 ran" in found["other-counts"].text


def test_failed_samples_are_counted_by_code(logs, make_sample, make_steps):
    codes = ("server-busy", "server-lost", "server-busy")
    failed = [make_sample(i, [], status="failed", reason="x", reason_code=code) for i, code in enumerate(codes, 1)]
    logs.write("a", content=[make_sample(0, make_steps()), *failed], samples=4)
    assert "3 of 4 samples failed (server-busy 2, server-lost 1)" in checks(logs)["failed-samples"].text


def test_a_measured_prompt_that_was_the_warm_up(logs, make_sample, make_steps):
    warm = make_sample(0, make_steps(), is_warmup=True, prompt_hash="same")
    logs.write("a", content=[warm, make_sample(1, make_steps(), prompt_hash="same"), make_sample(2, make_steps())])
    logs.write("b", content=[warm, make_sample(1, make_steps(), prompt_hash="new"), make_sample(2, make_steps())])
    finding = checks(logs)["reused-prompts"]
    assert "'a f16': 1 repeated prompt (" in finding.text and finding.rows[0].sample == 1


def test_more_tokens_than_the_text_has_characters(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(0, make_steps(n=200), text="four"), make_sample(1, make_steps())])
    logs.write("b", content=[make_sample(0, make_steps(n=200), text="x" * 400), make_sample(1, make_steps())])
    finding = checks(logs)["tokens-without-text"]
    assert "'a f16': 1 of 2 samples" in finding.text and "200 tokens for 4 characters" in finding.text


def test_points_for_form_are_no_accuracy(logs, make_sample, make_steps):
    problems = [make_sample(i, make_steps()) for i in range(12)]
    logs.write("a", content=problems, scores=[0.2, 0.1] * 6, task="t", samples=12)
    logs.write("b", content=problems, scores=[1.0, 0.1] * 6, task="t", samples=12)
    finding = checks(logs)["floor-scores"]
    assert "'a f16': accuracy 15.0 %, but none of 12 samples is right" in finding.text


def test_a_change_of_pace_and_a_cold_first_step(logs, make_sample):
    def paced(gaps):
        times = np.cumsum(gaps)
        return [{"index": i, "t_s": float(t), "step_s": g, "tokens": 1, "token_ids": [i]}
                for i, (t, g) in enumerate(zip(times, gaps, strict=True))]  # fmt: skip

    noise = np.random.default_rng(1).normal(1, 0.02, 40)
    slowed = [0.5, *(0.1 * noise[:20]), *(0.2 * noise[20:])]
    steady = [0.1, *(0.1 * noise)]
    for cell, gaps in (("a", slowed), ("b", steady)):
        logs.write(cell, content=[make_sample(0, paced(list(map(float, gaps))), prompt_tokens=None)], samples=1)
    found = checks(logs)
    assert "'a f16': the pace changes at step 21" in found["changes-of-pace"].text
    assert "'a f16': the first of 41 steps takes 500.00 ms" in found["cold-first-steps"].text
    assert found["cold-first-steps"].rows[0].step == 0


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_change_point(seed):
    generator = np.random.default_rng(seed)
    steady = sum(change_point(0.1 * generator.lognormal(0, 0.05, 30)) is not None for _ in range(100))
    drifting = change_point(np.geomspace(0.1, 0.11, 30))
    shifted = change_point(np.concatenate([np.full(20, 0.1), np.full(4, 0.2)]) * generator.lognormal(0, 0.02, 24))
    assert (steady, drifting, shifted) == (0, None, 20)
    assert change_point(np.full(30, 0.1)) is None and change_point(np.array([0.1, 0.2])) is None


def test_a_clock_that_is_too_coarse(logs, make_sample):
    def ticking(tick):
        gaps = [3 * tick + tick * (i % 2) for i in range(20)]
        return [{"index": i, "t_s": float(np.sum(gaps[: i + 1])), "step_s": g, "tokens": 1} for i, g in enumerate(gaps)]

    logs.write("a", content=[make_sample(0, ticking(0.01))], samples=1)
    assert all(figure in checks(logs)["coarse-clocks"].text for figure in ("35 ms", "10 ms"))


def test_outputs_of_two_backends_that_differ(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(0, make_steps(first_id=10)), make_sample(1, make_steps())])
    logs.write("b", content=[make_sample(0, make_steps(first_id=11)), make_sample(1, make_steps())])
    logs.write("c", content=[make_sample(0, make_steps(first_id=11)), make_sample(1, make_steps())], quantisation="q4")
    finding = checks(logs)["differing-outputs"]
    assert "'b f16' and 'a f16': greedy outputs differ for 1 of 2 problems; first at output token 0 of p0" in str(
        finding
    )
    assert [row.sample for row in finding.rows] == [0]


def test_more_tokens_not_slower_ones(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(0, make_steps(n=20, ttft=0.1, gap=0.1))], samples=1)
    logs.write("b", content=[make_sample(0, make_steps(n=60, ttft=0.09, gap=0.09))], samples=1)
    logs.write("c", content=[make_sample(0, make_steps(n=60, ttft=0.2, gap=0.2))], samples=1)
    finding = checks(logs)["more-tokens"]
    assert "'b f16' takes 2.70 times as long as 'a f16' for the same 1 problems, but for 3.00 times" in finding.text


def test_one_word_for_two_formats(logs):
    logs.write("a", quantisation="int8", bits_per_weight=8.0)
    logs.write("b", quantisation="int8", bits_per_weight=9.1)
    logs.write("c", quantisation="f16")
    logs.write("d", quantisation="f16")
    found = checks(logs)["unlike-formats"]
    assert "'int8' is not one format: a int8 (8.00 bits), b int8 (9.10 bits)" in found.text


def test_weights_faster_than_bytes(logs, make_sample, make_steps):
    for cell, read in (("a", 500), ("b", 5000)):
        steps = make_steps(forwards=1, bytes_read=read)
        logs.write(cell, content=[make_sample(0, steps), make_sample(1, steps)])
    finding = checks(logs)["more-weights-than-bytes"]
    assert finding.severity == "error" and finding.text.startswith("'a f16'")


def test_files_that_are_cut_or_refused(logs, tmp_path):
    logs.write("a")
    logs.write("b", end=False)
    (tmp_path / "raw" / "a" / "broken.jsonl").write_text("{}\n")
    told = checks(logs)["incomplete-files"].details
    assert len(told) == 2
    assert any("broken.jsonl" in text for text in told) and any("b_0.jsonl.part" in text for text in told)


def _all(logs):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return findings(store, "exp")


def test_the_published_tinygrad_logs_give_themselves_away(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for path in TINYGRAD.glob("*.txt"):
        shutil.copy(path, source)
    collate(tmp_path / "out", all_plugins(), intake=Intake([source]))
    with Store.open(tmp_path / "out") as store:
        told = findings(store, "imported")
    texts = list(map(str, told))
    (pace,) = [text for text in texts if "the pace changes" in text]
    assert "nf4" in pace and "at step 17 (from 0)" in pace and "3 steps to the end" in pace
    (cold,) = [finding for finding in told if finding.check == "cold-first-steps"]
    assert len(cold.details) == len(cold.cells) == 2 and "takes 42.54 ms" in cold.text
    (dead,) = [finding for finding in told if finding.check == "unfinished-rounds"]
    assert dead.severity == "error" and any("fp8" in name for name in dead.cells)


def test_cells_of_one_round_have_no_interval(logs):
    logs.write("a")
    logs.speeds("b", [0.1, 0.1])
    assert "1 of 2 cells have one round" in checks(logs)["single-rounds"].text
    logs.write("a", 1)
    assert "single-rounds" not in checks(logs)


def test_one_device_name_for_two_gpus(logs):
    logs.write("a", device="cuda:0", **host("h", gpu=["H100"]))
    logs.write("b", device="cuda:0", **host("h", gpu=["H200"]))
    logs.write("c", device="cpu", **host("h", gpu=["T4"]))
    assert "cuda:0 is not one GPU in 2 cells: H100 (1); H200 (1)" in checks(logs)["several-gpus"].text


def test_an_accuracy_that_no_count_gives(logs):
    for cell, share in (("a", 0.85), ("b", 0.875), ("c", 0.8)):
        logs.write(cell, content=[], totals={"samples": 8, "accuracy": share})
    texts = [finding.text for finding in _all(logs) if finding.check == "impossible-accuracies"]
    assert texts == ["'a f16': an accuracy of 0.85 among 8 samples would be 6.80 right answers"]  # 0.8 is too coarse


def test_the_page_and_the_list_name_every_check(cli):
    page = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    assert page == markdown()
    listed = {entry["check"]: entry["provider"] for entry in cli("findings", "--list", "--json").json}
    assert listed["changes-of-pace"] == "decodebench" and listed["unused-bonus"] == "draft-target"
    assert all(entry["summary"].strip() for entry in cli("findings", "--list", "--json").json)
