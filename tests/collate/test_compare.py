import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from ..refusals import refused


def comparison(logs, **arguments):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return compare(store, **arguments)


def by_backend(result):
    return {row.cell.backend: row for row in result.rows}


def test_twice_as_fast_by_hand(logs):
    logs.speeds("a", [0.10, 0.10, 0.10])
    logs.speeds("b", [0.05, 0.05, 0.05])
    result = comparison(logs)
    base, other = result.rows
    assert (base.verdict, other.verdict) == ("baseline", "faster")
    assert (result.baseline, result.by) == ("a f16", "backend")
    assert other.ratio.value == pytest.approx(2.0) and other.ratio_geomean.value == pytest.approx(2.0)
    assert other.metrics["decode_tokens_per_s"].value == pytest.approx(15 / (0.05 * 5 * 3.3))
    assert (other.rounds, other.failed, other.n, other.parity.verdict) == (3, 0, 9, "identical")
    assert result.warnings == ()


@pytest.mark.parametrize("metric", ["tpot_s", "decode_tokens_per_s", "e2e_tokens_per_s"])
def test_above_one_is_better_whatever_the_direction(logs, metric):
    logs.speeds("a", [0.10, 0.11, 0.10])
    logs.speeds("b", [0.05, 0.055, 0.05])
    assert comparison(logs, metric=metric).rows[1].ratio.value > 1.2


def test_a_metric_of_the_round_is_compared_by_round(logs):
    for round in range(3):
        logs.write("a", round, load={"load_s": 4.0 + round / 10})
        logs.write("b", round, load={"load_s": 2.0 + round / 20})
    row = comparison(logs, metric="load_s").rows[1]
    assert row.ratio.value == pytest.approx(2.0) and row.verdict == "faster"


def test_the_baseline_can_be_chosen_and_a_wrong_one_is_suggested(logs):
    logs.speeds("alpha", [0.10, 0.10], experiment="exp")
    logs.speeds("beta", [0.05, 0.05])
    assert comparison(logs, baseline="beta").baseline == "beta f16"
    assert comparison(logs, baseline="alpha f16").baseline == "alpha f16"
    for wrong in ({"baseline": "betta"}, {"metric": "tpot"}, {"experiment": "expp"}, {"by": "quantization"}):
        with refused("unknown-name"):
            comparison(logs, **wrong)
    with refused("not-supported"):
        comparison(logs, metric="draft_share")


def test_the_plans_order_beats_the_shuffled_schedule(logs):
    logs.speeds("a", [0.1, 0.1], cell_index=1, order=0)
    logs.speeds("b", [0.1, 0.1], cell_index=0, order=1)
    assert comparison(logs).baseline == "b f16"


def test_equal_cells_are_equivalent_and_noisy_ones_show_nothing(logs):
    logs.speeds("a", [0.1, 0.1001, 0.0999])
    logs.speeds("b", [0.1001, 0.1, 0.0999])
    logs.speeds("c", [0.08, 0.13, 0.10])
    rows = by_backend(comparison(logs))
    assert (rows["b"].verdict, rows["c"].verdict) == ("equivalent", "no difference shown")


def test_one_round_claims_nothing(logs):
    logs.speeds("a", [0.1])
    logs.speeds("b", [0.01])
    row = comparison(logs).rows[1]
    assert (row.verdict, row.ratio.low, row.p_value) == ("not tested", None, None)
    assert row.ratio.value == pytest.approx(10.0)


def test_rounds_without_a_common_index_are_compared_unpaired(logs, make_sample, make_steps):
    for cell, first, gap in (("a", 0, 0.1), ("b", 10, 0.05)):
        for i in range(3):
            gaps = [make_sample(s, make_steps(gap=gap + 0.0005 * i)) for s in range(2)]
            logs.write(cell, first + i, gaps)
    row = comparison(logs).rows[1]
    assert row.verdict == "faster" and row.ratio.low is not None


def test_warm_up_failed_and_unfinished_never_count(logs, make_sample, make_steps):
    slow = make_sample(0, make_steps(gap=9.0), is_warmup=True)
    failed = make_sample(2, make_steps(gap=9.0), status="failed")
    for cell in "ab":
        for round in range(2):
            logs.write(cell, round, [slow, make_sample(1, make_steps(gap=0.1)), failed])
        logs.write(cell, 2, [make_sample(1, make_steps(gap=9.0))], end=False)
        logs.write(cell, 3, [make_sample(1, make_steps(gap=9.0))], status="timeout")
    logs.write("c", 0, status="crashed", reason="boom")
    result = comparison(logs)
    rows = by_backend(result)
    assert (rows["b"].rounds, rows["b"].failed, rows["b"].n) == (2, 2, 2)
    assert rows["b"].metrics["decode_tokens_per_s"].value == pytest.approx(10.0)
    assert (rows["c"].verdict, rows["c"].failed, rows["c"].rounds) == ("not comparable", 1, 0)
    assert rows["c"].metrics == {} and rows["c"].parity.verdict == "not comparable"
    assert any("timeout" in text for finding in result.findings for text in finding.details)


def test_unequal_sample_counts_are_never_significant_by_themselves(logs, make_sample, make_steps):
    for round in range(3):
        logs.write("a", round, [make_sample(i, make_steps(gap=0.1 + i)) for i in range(4)], samples=4)
        logs.write("b", round, [make_sample(0, make_steps(gap=0.1))], samples=4)
    result = comparison(logs)
    row = result.rows[1]
    assert row.ratio.value == pytest.approx(1.0) and row.verdict == "equivalent"
    assert row.parity.verdict == "not comparable" and "3 of 4" in row.parity.reason
    assert any("answered prompts differ: 1 in" in text for text in result.warnings)


def test_without_common_prompts_nothing_is_compared(logs, make_sample, make_steps):
    for round in range(2):
        logs.write("a", round, [make_sample(0, make_steps(), sample_id="x")])
        logs.write("b", round, [make_sample(0, make_steps(gap=0.01), sample_id="y")])
    row = comparison(logs).rows[1]
    assert (row.verdict, row.ratio.value, row.parity.verdict) == ("not comparable", None, "not comparable")


def test_by_compares_within_groups_that_differ_in_nothing_else(logs):
    gaps = {"a1": 0.1, "a2": 0.05, "b1": 0.3, "b2": 0.1}
    for cell, gap in gaps.items():
        logs.speeds(cell, [gap, gap], backend=cell[0], options={"n_threads": int(cell[1])}, quantisation="f16")
    result = comparison(logs, by="n_threads", baseline="1")
    assert [row.cell.label for row in result.rows] == [f"{b} f16 n_threads={n}" for b in "ab" for n in (1, 2)]
    assert [row.verdict for row in result.rows] == ["baseline", "faster", "baseline", "faster"]
    assert result.rows[3].ratio.value == pytest.approx(3.0)
    assert result.warnings == ()


def test_unlike_conditions_are_named_with_both_values(logs, make_sample, make_steps):
    logs.write("a")
    logs.write("b", device="gpu", batch_size=4, warmup=2, sampling={"temperature": 0.7}, options={"n_threads": 8})
    logs.write("c", content=[make_sample(i, make_steps(n=7), prompt_hash="0" * 16) for i in range(2)])
    logs.write("d", content=[make_sample(i, make_steps(), depth_tokens=2) for i in range(2)])
    warnings = comparison(logs).warnings
    for text in (
        "device differs: gpu in 'b f16 gpu', cpu in 'a f16 cpu'", "batch_size differs: 4", "warmup differs: 2",
        "sampling.temperature differs: 0.7", "threads (8)", "prompt_hash differs for 1 prompt:",
        "output_tokens differ over the common prompts: 14", "depth_tokens differ over the common prompts: ",
    ):  # fmt: skip
        assert any(text in warning for warning in warnings), (text, warnings)


def test_labels_stay_unique(logs):
    logs.speeds("a", [0.1, 0.1], backend="x")
    logs.speeds("b", [0.1, 0.1], backend="x", max_new_tokens=32)
    labels = [row.cell.label for row in comparison(logs).rows]
    assert [label.split()[-1] for label in labels] == ["max_new_tokens=64", "max_new_tokens=32"]
    logs.speeds("c", [0.1, 0.1], backend="x")
    labels = [row.cell.label for row in comparison(logs).rows]
    assert len(set(labels)) == 3 and all("#cell" in label for label in labels if "=64" in label)


def test_intervals_of_several_rows_hold_together(logs):
    logs.speeds("a", [0.100, 0.101, 0.099])
    for cell in "bc":
        logs.speeds(cell, [0.090, 0.0915, 0.0895])
    one, two = comparison(logs).rows[1:]
    assert one.p_value == two.p_value
    with Store.open(logs.folder) as store:
        alone = compare(store)
    assert alone.rows[1].p_value == one.p_value
    assert one.ratio_simultaneous.low < one.ratio.low < one.ratio.high < one.ratio_simultaneous.high


def test_the_latest_experiment_is_the_default(logs):
    logs.write("a", experiment="old", started_at="2025-01-01T00:00:00+00:00")
    logs.write("b", experiment="new")
    assert comparison(logs).experiment == "new"
    assert comparison(logs, experiment="old").rows[0].cell.backend == "a"


def test_an_empty_store_is_a_clear_error(logs):
    with refused("no-results"):
        comparison(logs)


def test_accuracy_counts_each_problem_once(logs, make_sample, make_steps):
    problems = [make_sample(i, make_steps()) for i in range(20)]
    for round in range(3):
        logs.write("a", round, problems, samples=20, task="t", task_version="1", scores=[1.0] * 20)
        logs.write("b", round, problems, samples=20, task="t", task_version="1", scores=[1.0] * 10 + [0.0] * 10)
    base, other = (row.accuracy for row in comparison(logs).rows)
    assert (base.verdict, base.value.value, base.value.n, base.task) == ("baseline", 1.0, 20, "t 1")
    assert other.verdict == "lower" and other.difference.value == -0.5 and other.p_value == pytest.approx(1 / 2**10)
    assert other.value.low == pytest.approx(0.2993, abs=1e-3)


def test_across_backends_formats_of_one_width_stand_together(logs):
    formats = {
        "a": ("q4_k_m", 4.89),
        "b": ("nf4", 4.25),
        "c": ("q4f16_1", 4.5),
        "d": ("q8_0", 8.5),
        "e": ("int8", 8.03),
    }
    for cell, (name, bits) in formats.items():
        logs.speeds(cell, [0.1, 0.1], quantisation=name, bits_per_weight=bits)
    rows = comparison(logs, by="backend").rows
    assert [row.cell.quantisation for row in rows] == ["q4_k_m", "nf4", "q4f16_1", "q8_0", "int8"]
    assert [row.verdict == "baseline" for row in rows] == [True, False, False, True, False]


def test_logs_that_do_not_tell_their_prompts_are_compared_as_wholes(logs, make_sample, make_steps):
    unknown = {"sample_id": None, "prompt_hash": None}
    for cell, gap in (("a", 0.1), ("b", 0.05)):
        for round in range(3):
            noise = 1 + 0.01 * round
            logs.write(cell, round, [make_sample(i, make_steps(gap=gap * noise), **unknown) for i in range(2)])
    result = comparison(logs)
    row = by_backend(result)["b"]
    assert row.ratio.value == pytest.approx(2.0) and row.verdict == "faster" and row.ratio.n == 3
    assert sum("rounds are compared as wholes, unpaired" in text for text in result.warnings) == 1


def test_steady_state_leaves_the_first_sample_out_of_times_and_says_so(logs, make_sample, make_steps):
    for cell, first in (("a", 0.1), ("b", 5.0)):
        for round in range(3):
            gaps = (first, 0.1 + 0.001 * round, 0.1)
            logs.write(cell, round, [make_sample(i, make_steps(gap=gap)) for i, gap in enumerate(gaps)], samples=3)
    assert by_backend(comparison(logs))["b"].verdict == "slower"
    result = comparison(logs, steady_state=True)
    row = by_backend(result)["b"]
    assert row.ratio.value == pytest.approx(1.0) and row.verdict == "equivalent"
    assert row.metrics["decode_tokens_per_s"].value == pytest.approx(10, rel=0.02)
    assert result.steady_state and "steady state" in result.warnings[0]
    assert row.n == 9 and row.parity.compared == 3


def test_cells_of_several_hosts_are_told_apart(logs):
    for name in ("phone", "laptop"):
        logs.write("a" + name[0], backend="a", environment={"hostname": name})
    assert {row.cell.label for row in comparison(logs).rows} == {"a f16 on phone", "a f16 on laptop"}


def test_cells_that_share_a_difference_share_its_warning(logs):
    logs.write("a", seed=1)
    for cell in "bcde":
        logs.write(cell, seed=2)
    told = [text for text in comparison(logs).warnings if "seed" in text]
    assert told == ["seed differs: 2 in 'b f16', 'c f16' and 2 more, 1 in 'a f16'"]
