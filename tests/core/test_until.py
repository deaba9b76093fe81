"""Rounds until the question is answered, as commands: when they end, what is left, and what does not go together."""

from __future__ import annotations

import pytest

RUN = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 1, "--max-new-tokens", 4]
SWEEP = ["--set", "step_s=0.01,0.1"]
OTHER = "faulty f32 step_s=0.1"


@pytest.mark.nightly
def test_rounds_end_with_the_verdict_and_do_not_go_on_by_another_rule(cli, tmp_path):
    until = [*RUN, *SWEEP, "--until", "verdict", "--max-rounds", 4, "-o", tmp_path / "o", "--json"]
    ended = cli(*until)
    assert ended.code == 0, ended.err
    found = ended.json
    (slow,) = [row for row in found["comparison"]["rows"] if row["cell"]["label"] == OTHER]
    assert (slow["verdict"], found["undecided"]) == ("slower", {}) and 2 <= slow["rounds"] <= 4
    assert found["comparison"]["max_rounds"] == 4
    again = cli(*until).json
    assert (again["done"], again["kept"]) == (0, 2 * slow["rounds"])
    for other in (["--until", "verdict", "--max-rounds", 6], ["--rounds", 5]):
        refused = cli(*RUN, *SWEEP, *other, "-o", tmp_path / "o")
        assert refused.code == 2 and "--max-rounds 4" in refused.err


@pytest.mark.nightly
def test_what_is_left_at_the_end_says_how_many_more_rounds_it_needs(cli, tmp_path):
    ended = cli(*RUN, *SWEEP, "--until-ci", "0.01%", "--max-rounds", 3, "-o", tmp_path / "o", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["done"] == 6 and ended.json["undecided"][OTHER] > 3
    assert str(ended.json["undecided"][OTHER]) in ended.err


def test_a_budget_that_is_up_is_said_in_one_line_and_in_json(cli, tmp_path):
    ended = cli(*RUN, "--rounds", 50, "--budget", "0.01s", "-o", tmp_path / "o", "--json")
    assert ended.code == 0 and ended.json["budget_end"] == {"rounds": 1, "of": 50}
    assert ended.err.count("budget: ends after 1 of 50 rounds") == 1
    assert cli(*RUN, "--rounds", 1, "-o", tmp_path / "o", "--json").json["budget_end"] is None


@pytest.mark.parametrize(
    "flags",
    [
        ["--until", "verdict", "--rounds", 3, *SWEEP],
        ["--until", "verdict", "--until-ci", "2%", *SWEEP],
        ["--max-rounds", 4, *SWEEP],
        ["--until-ci", "200%", *SWEEP],
        ["--budget", "5 parsecs", *SWEEP],
        ["--until", "verdict"],  # one cell
    ],
)
def test_what_does_not_go_together_is_refused(cli, tmp_path, flags):
    refused = cli(*RUN, *flags, "-o", tmp_path / "o")
    assert refused.code == 2 and "Traceback" not in refused.err and not (tmp_path / "o").exists()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("1h30m", 5400), ("2 min", 120)])
def test_times_are_read_as_people_write_them(text, seconds):
    from decodebench.core.sdk.sizes import Duration

    assert Duration().convert(text, None, None) == seconds
