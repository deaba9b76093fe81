"""Rounds that ran in turn are compared with each other, however often a baseline was measured besides."""

from __future__ import annotations

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


@pytest.fixture
def write(logs, make_sample, make_steps):
    def one(cell, index, gap, block, **more):
        content = [make_sample(at, make_steps(n=6, gap=gap)) for at in range(3)]
        name = f"{cell}-{index}-{block}"
        logs.write(cell, index, content, name=f"{name}.jsonl", run_id=name, block=block, samples=3, **more)

    return one


def compared(logs):
    report = collate(logs.folder, all_plugins())
    assert report.problems == ()
    with Store.open(logs.folder) as store:
        return compare(store, experiment="exp")


def test_rounds_pair_by_their_block(logs, write):
    """The machine gets slower all the time; what ran in turn was slowed alike."""
    for index, gap in enumerate((0.1, 0.2, 0.4)):
        write("a", index, gap, f"block {index}")
        write("b", index, gap / 2, f"block {index}", status="crashed" if index == 1 else "ok")
    write("a", 1, 1.6, "again")
    write("b", 1, 0.8, "again")
    base, other = compared(logs).rows
    assert (base.rounds, other.rounds, other.failed, other.ratio.n) == (3, 3, 1, 3)
    assert other.ratio.low == pytest.approx(2, rel=1e-6) and other.ratio.high == pytest.approx(2, rel=1e-6)


def test_cells_that_were_never_in_one_block_pair_by_round(logs, write):
    for index, gap in enumerate((0.1, 0.2, 0.4)):
        write("a", index, gap, f"first {index}")
        write("b", index, gap / 2, f"second {index}")
    other = compared(logs).rows[1]
    assert other.ratio.n == 3 and other.ratio.low == pytest.approx(2, rel=1e-6)


def beside(comparison):
    return [text.split(" rounds")[0] for text in comparison.warnings if "did not run beside" in text]


def test_rounds_in_turn_or_next_to_each_other_ran_beside_each_other(logs, write):
    for index in range(3):
        write("a", index, 0.1, f"block {index}")
        write("b", index, 0.1, f"block {index}")
        write("c", index, 0.1, None)
    assert beside(compared(logs)) == []


def test_a_cell_that_was_measured_later_or_elsewhere_is_said_not_to_have_run_beside_its_baseline(logs, write):
    for index in range(3):
        write("a", index, 0.1, None)
        write("b", index, 0.1, None)
        write("c", index, 0.1, None, started_at=f"2026-01-02T00:00:0{index}+00:00")
        write("d", index, 0.1, None, environment={"hostname": "another"})
        write("e", index, 0.1, None, **({"started_at": "2026-01-02T00:00:00+00:00"} if index == 1 else {}))
    assert beside(compared(logs)) == ["3 of 3", "1 of 3"]  # c and d share a warning


def test_rounds_of_one_block_are_counted_once(logs, write):
    """Those of a file that is there twice, and those that were measured again beside other cells."""
    write("a", 0, 0.1, "one")
    write("a", 0, 0.2, None)
    write("a", 0, 0.3, "two")
    write("a", 1, 0.3, "three")
    logs.write("a", 0, name="copy.jsonl", run_id="copy", block="one")
    report = collate(logs.folder, all_plugins())
    assert len(report.problems) == 1 and "counted once" in report.problems[0].text
    with Store.open(logs.folder) as store:
        (row,) = compare(store, experiment="exp").rows
    assert (row.rounds, row.n, row.metrics["decode_tokens_per_s"].n) == (2, 6, 2)
    assert row.metrics["tpot_s"].value == pytest.approx((0.2 * 0.3) ** 0.5)  # the mean of each round, then of both


def test_an_interval_allows_for_the_looks_that_were_taken(logs, write):
    speeds = (0.1, 0.05), (0.101, 0.051), (0.099, 0.049), (0.1, 0.0505)
    for index, (gap, other) in enumerate(speeds):
        write("a", index, gap, f"block {index}", max_rounds=12)
        write("b", index, other, f"block {index}", max_rounds=12)
    looked = compared(logs)
    for file in logs.folder.glob("raw/*/*.jsonl"):
        file.write_text(file.read_text().replace('"max_rounds": 12', '"max_rounds": null'))
    plain = compared(logs)
    assert (looked.max_rounds, plain.max_rounds) == (12, None)
    wide, narrow = looked.rows[1].ratio, plain.rows[1].ratio
    assert wide.low < narrow.low < narrow.high < wide.high and wide.value == pytest.approx(narrow.value)
    assert looked.rows[1].deviation == pytest.approx(plain.rows[1].deviation)
