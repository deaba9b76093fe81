"""What a run says of itself while it goes on: rounds done, tokens/s, and an honest time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from decodebench.core.measure.progress import Progress


def told(*, budget_s=None, certain=0, rounds=4, round_s=10.0, is_terminal=False):
    """Return what is printed of three rounds, each of one sample with 30 tokens in half its time."""
    now = 0.0
    output = io.StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=200, color_system=None)
    with Progress(console, clock=lambda: now) as progress:
        progress.preparing("ref [none]")
        progress.begin(rounds, 2, budget_s, certain)
        for index in range(3):
            progress.round_begins("ref [none]", index)
            progress.sample(30, round_s / 2)
            now += round_s
            progress.round_ends("failed" if index == 1 else "ok", "broken [bold]")
    return output.getvalue()


def test_off_a_terminal_each_round_is_a_plain_line():
    assert told().splitlines() == [
        "2 rounds are there already, 4 to run",
        "[1/4] ref [none], round 1: 6.0 tokens/s, about 30 s left",
        "[2/4] ref [none], round 2: failed: broken [bold], about 20 s left",
        "[3/4] ref [none], round 3: 6.0 tokens/s, about 10 s left",
    ]


@pytest.mark.parametrize(
    ("budget_s", "certain", "left"),
    [
        (1000.0, 1, ["30 s", "20 s", "10 s"]),
        (25.0, 1, ["15 s", "5 s", "0 s"]),
        (25.0, 3, ["20 s", "10 s", "0 s"]),  # three rounds run, whatever the budget
    ],
)
def test_within_a_budget_nobody_knows_how_many_rounds_come(budget_s, certain, left):
    lines = told(budget_s=budget_s, certain=certain).splitlines()[1:]
    assert [line.partition(" ")[0] for line in lines] == ["[1]", "[2]", "[3]"]
    assert [line.rpartition("about ")[2] for line in lines] == [f"{time} left" for time in left]


def test_on_a_terminal_rounds_are_counted_live():
    shown = told(is_terminal=True)
    assert "3/4" in shown and "0:00:00" in shown
    assert "[3/4] ref [none], round 3: 6.0 tokens/s, about 10 s left" in shown
