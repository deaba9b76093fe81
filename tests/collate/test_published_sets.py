"""Result sets that others published: what was found in each by hand is found by the audit, unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from decodebench.core.api.imports import audit
from decodebench.core.isolation.plugins import all_plugins

DATA = Path(__file__).parents[1] / "data" / "published"
PARSERS = all_plugins().log_parsers
RATES = """Decode in tok/s, `n-max` swept. At most 1 + 2 x 0.5 tokens a cycle: X becomes 70 at most, Y 2.

| Card | Baseline | With flag | n-max | Acceptance |
|---|---|---|---|---|
| X | 35.0 | 90.0 | 2 | 0.5 |
| Y | 1.0 | 1.9 | 2 | 0.5 |
"""


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """What an audit finds of all sets, of a board with another speed-up in it, and of a table of rates."""
    folder = tmp_path_factory.mktemp("pages")
    board = (DATA / "spec_bench_board.md").read_text().replace("7B", "9B").replace("1.83x", "2.43x")
    (folder / "board.md").write_text(board)
    (folder / "rates.md").write_text(RATES)
    return {finding.check: finding for finding in audit([DATA, folder]).findings}


def runs(name, parser):
    return list(PARSERS[parser]().read(DATA / name))


def test_a_median_that_leaves_out_waits(findings):
    """By hand: 508 requests at 796.8 tokens/s are 638 ms per token, and the median is 47 ms."""
    few, many = runs("ml_energy.json", "ml-energy")
    assert (few.model, few.task) == ("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "sourcegraph-fim")
    assert (many.options["max_num_seqs"], many.options["tensor_parallel"], many.environment.gpu) == (512, 1, ("B200",))
    power, rate = float(many.settings["published_mean_power_w"]), many.totals.tokens_per_s
    assert float(many.settings["published_energy_per_token_j"]) == pytest.approx(power / rate)
    finding = findings["medians-below-means"]
    assert len(finding.rows) == 1 and "638 ms" in finding.text and finding.rows[0].run_id == many.run_id


def test_a_board_whose_order_turns_from_one_machine_to_another(findings):
    """By hand: over all tasks Medusa by SpS is 1.78 / 1.49 on one GPU and 1.44 / 1.83 on the other."""
    read = runs("spec_bench_board.md", "spec-bench-board")
    overall = [run for run in read if run.task == "Overall"]
    assert [(run.backend, run.settings["published_speed_up"]) for run in overall][:2] == [
        ("SpS", "1.83"),
        ("PLD", "1.55"),
    ]
    assert {(run.model, run.quantisation, run.batch_size) for run in read} == {("Vicuna-7B-v1.3", "float16", 1)}
    assert overall[-1].settings["published_acceptance_length"] == "2.28" and len(read) == 2 * 3 * 7
    assert any("1.19 times" in text and "0.79 times" in text for text in findings["orders-by-machine"].details)


def test_a_table_by_many_people_on_many_machines(findings):
    read = runs("qwen38_mtp.md", "speculation-table")
    community, sweep = read[:12], read[12:]
    speeds = [31.0, 41.3, 47.7, 76.3, 61.9, 130.0, 28.7, 47.8, 47.0, 68.8]
    assert [run.totals.tokens_per_s for run in community if run.totals] == speeds
    assert {run.model for run in read} == {"Qwen3.8-27B"} and community[4].quantisation == "q6_k"
    assert [run.options.get("num_draft_tokens") for run in sweep] == [None, 1, 2, 3, 4, 5, 6, None, 2, 2, 3, 4]
    assert [run.options.get("p_min") for run in sweep[-3:]] == [0.6, None, None]
    assert "12 figures come from 6 people" in findings["several-contributors"].text
    assert any("Mac Studio" in text and "RTX 5090" in text for text in findings["orders-by-machine"].details)


def test_speed_ups_above_the_tokens_of_a_cycle(findings):
    texts = findings["speed-ups-above-acceptance"].details
    assert len(texts) == 2 and "2.57 times" in texts[0] and "2.00 tokens per cycle" in texts[0]
    assert "2.43 at 2.29" in texts[1] and len(findings["speed-ups-above-acceptance"].rows) == 3


def test_drafts_of_a_script_that_asks_a_server():
    run, first, *_ = runs("mtp_bench.json", "mtp-bench")
    assert (run.kind, run.quantisation, run.options, run.samples) == (
        "speculative",
        "q8_k_xl",
        {"num_draft_tokens": 2},
        9,
    )
    assert (first.sample_id, first.output_tokens, first.duration_s) == ("code_python", 192, 15.461)
    assert (first.engine["draft_tokens"], first.engine["accepted_draft_tokens"]) == (140, 120)
