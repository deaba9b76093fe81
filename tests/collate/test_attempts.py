"""Several attempts at a problem: accuracy per problem, pass@k, their intervals and what pairs with what."""

from __future__ import annotations

import itertools
import random
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.comparison.attempts import ks_up_to, mean_over_problems, paired_mean_difference, pass_at_k
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.reproduce import plan_toml
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_answer(n, data):
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_is_unbiased():
    chance, k, n = 0.3, 3, 5
    draw = random.Random(1)
    counts = [sum(draw.random() < chance for _ in range(n)) for _ in range(20_000)]
    mean = sum(pass_at_k(n, right, k) for right in counts) / len(counts)
    assert mean == pytest.approx(1 - (1 - chance) ** k, abs=0.01)


@pytest.mark.parametrize(("n", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, -1, 1), (0, 0, 1), (3, 1, 0)])
def test_pass_at_k_of_too_few_attempts_is_not_defined(n, right, k):
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(n, right, k)


def test_the_ks_that_are_shown():
    assert list(ks_up_to(4)) == [1, 2]
    assert list(ks_up_to(100)) == [1, 2, 5, 10, 20, 50, 100]


def test_the_interval_covers_the_mean_of_all_problems():
    draw = random.Random(3)
    population = [draw.choice([0.0, 0.2, 0.6, 1.0]) for _ in range(4000)]
    truth = sum(population) / len(population)
    hits = 0
    for trial in range(150):
        found = mean_over_problems(random.Random(trial).sample(population, 60), resamples=400)
        hits += found.low <= truth <= found.high
    assert hits >= 0.88 * 150


def test_problems_that_are_all_alike_still_have_an_interval():
    found = mean_over_problems([1.0] * 8)
    assert (found.value, found.high, found.n) == (1.0, 1.0, 8) and 0.5 < found.low < 0.8
    assert mean_over_problems([]).value is None


def test_a_difference_needs_pairs():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_mean_difference([1.0], [1.0, 0.0])
    found = paired_mean_difference([1.0, 0.5, 1.0, 0.5], [0.5, 0.0, 0.5, 0.0])
    assert found.value == 0.5 and found.low <= 0.5 <= found.high


RIGHT = {"p0": [1, 1, 1, 1], "p1": [1, 0, 0, 0], "p2": [0, 0, 1, 1], "p3": [0, 0, 0, 0]}


@pytest.fixture
def attempted(logs, make_sample, make_steps):
    """Two cells that answered four problems four times each, as a round of `--attempts 4` writes them."""

    def write(cell, right):
        content = [
            make_sample(4 * at + attempt, make_steps(), sample_id=name, prompt_hash=f"{at:016x}")
            for at, name in enumerate(right)
            for attempt in range(4)
        ]
        scores = [float(score) for name in right for score in right[name]]
        about = {"samples": 16, "attempts": 4, "task": "t", "task_version": "1", "sampling": {"temperature": 0.8}}
        logs.write(cell, 0, content, scores=scores, **about)

    write("a", RIGHT)
    write("b", {name: [0, *scores[1:]] for name, scores in RIGHT.items()})
    collate(logs.folder, all_plugins())
    return logs.folder


def test_a_comparison_gives_pass_at_k_as_computed_by_hand(attempted):
    with Store.open(attempted) as store:
        found = compare(store)
    base, other = (row.accuracy for row in found.rows)
    # right of 4: 4, 1, 2, 0; pass@1 = (1 + 1/4 + 1/2 + 0)/4; pass@2 = (1 + (1 - 3/6) + (1 - 1/6) + 0)/4
    assert base.value.value == pytest.approx(7 / 16) and base.value.n == 4
    assert {k: e.value for k, e in base.pass_at_k.items()} == {1: pytest.approx(7 / 16), 2: pytest.approx(7 / 12)}
    assert base.pass_at_k[1] == base.value
    assert all(e.low < e.value < e.high and e.n == 4 for e in base.pass_at_k.values())
    # the first attempt of each is wrong now: 3, 0, 2, 0
    assert other.value.value == pytest.approx(5 / 16)
    assert other.difference.value == pytest.approx(-2 / 16) and other.difference.n == 4
    assert not [f for f in found.findings if "run before" in f.text or "requested" in f.text]


@pytest.mark.nightly
def test_the_command_line_shows_pass_at_k(attempted, cli):
    shown = cli("compare", attempted)
    assert shown.code == 0, shown.err
    assert "pass@1" in shown.out and "pass@2" in shown.out and "58" in shown.out
    row = cli("compare", attempted, "--json").json["rows"][0]
    assert row["accuracy"]["pass_at_k"]["2"]["value"] == pytest.approx(7 / 12)


def test_the_plan_of_the_experiment_asks_for_the_attempts(attempted):
    with Store.open(attempted) as store:
        text = plan_toml(store, "exp")
    assert "samples = 4\n" in text and "attempts = 4\n" in text


def test_the_plan_of_an_experiment_is_toml_whatever_its_options_are(logs):
    options = {"table": {"x": None, "y": [1, None, {"z": None}]}, "none": None, "text": "a\x7f\u2028"}
    logs.write("a", 0, options=options)
    logs.write("b", 0)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        plan = tomllib.loads(plan_toml(store, "exp"))
        kept = tomllib.loads(plan_toml(store, "exp", {"until": "verdict", "max_rounds": 9, "timeout_s": 1.5}))
    (cell,) = (cell for cell in plan["cells"] if cell["backend"] == "a")
    assert cell["options"] == {"table": {"y": [1, {}]}, "text": "a\x7f\u2028"}
    assert (plan["rounds"], plan["interleave"]) == (1, "rounds"), "two cells that were not measured in turn"
    assert (kept["until"], kept["max_rounds"], kept["timeout_s"]) == ("verdict", 9, 1.5) and "rounds" not in kept


def test_problems_answered_once_have_no_pass_at_k(logs, make_sample, make_steps):
    logs.write("a", content=[make_sample(i, make_steps()) for i in range(4)], samples=4, task="t", scores=[1.0] * 4)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        assert compare(store).rows[0].accuracy.pass_at_k == {}
