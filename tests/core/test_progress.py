"""What a run says of itself while it goes on: rounds done, samples, tokens/s, an honest time left, failures once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from decodebench.core.measure.forecast.time_left import RoundTime, TimeLeft
from decodebench.core.measure.progress import Progress


class Told:
    """A run with a clock of its own; ``lines`` is what was printed so far."""

    def __init__(self, *, is_terminal=False, **how):
        self.now = 0.0
        self._output = io.StringIO()
        console = Console(file=self._output, force_terminal=is_terminal, width=200, color_system=None)
        self.progress = Progress(console, clock=lambda: self.now, **how)

    @property
    def lines(self):
        return self._output.getvalue().splitlines()

    def sample(self, seconds, tokens=30):
        self.now += seconds
        self.progress.sample(tokens, seconds)

    def round(self, label, index, *, seconds=10.0, status="ok", reason=None, **where):
        self.progress.round_begins(label, index, samples=1)
        self.sample(seconds / 2)
        self.now += seconds / 2
        self.progress.round_ends(status, reason, **where)


def lines_of_three_rounds(**budget):
    told = Told()
    with told.progress as progress:
        progress.preparing("ref")
        progress.begin({"ref": 4}, 2, **budget)
        for index in range(3):
            failed = index == 1
            told.round("ref", index, status="failed" if failed else "ok", reason="broken [bold]" if failed else None)
    return told.lines


def test_off_a_terminal_each_round_is_a_plain_line():
    assert lines_of_three_rounds() == [
        "2 rounds kept, 4 to run",
        "[1/4] ref, round 1: 6.0 tokens/s, about 30 s left",
        "[2/4] ref, round 2: failed: broken [bold], about 20 s left",
        "[3/4] ref, round 3: 6.0 tokens/s, about 10 s left",
    ]


@pytest.mark.parametrize(
    ("budget_s", "certain", "left"),
    [
        (1000.0, 1, ["30 s", "20 s", "10 s"]),
        (25.0, 1, ["15 s", "5 s", "0 s"]),
        (25.0, 3, ["20 s", "10 s", "0 s"]),  # three rounds run, whatever the budget
    ],
)
def test_within_a_budget_the_rounds_that_run_in_any_case_count_in_full(budget_s, certain, left):
    lines = lines_of_three_rounds(budget_s=budget_s, certain={"ref": certain})[1:]
    assert [line.rpartition("about ")[2] for line in lines] == [f"{time} left" for time in left]


def test_a_quick_cell_does_not_stand_for_a_slow_one():
    told = Told()
    told.progress.begin({"quick": 2, "slow": 2}, 0)
    told.round("quick", 0, seconds=2.0)
    assert told.lines[-1].endswith("about 6 s left")  # nothing is known of the other yet
    told.round("slow", 0, seconds=80.0)
    assert told.lines[-1].endswith("about 82 s left")
    told.round("quick", 1, seconds=2.0)
    assert told.lines[-1].endswith("about 80 s left")


def test_samples_of_a_first_round_tell_how_long_it_will_take():
    """10 s of loading and the first sample, 1 s for each of the other 19: 29 s, of which 12 s are over."""
    time = TimeLeft({"cell": 3})
    going = RoundTime("cell", samples=20, done=3, active_s=12.0, first_s=10.0)
    assert going.whole_s() == 29.0 and time.seconds(12.0, {"cell": going}) == 3 * 29.0 - 12.0
    assert TimeLeft({"cell": 3}).seconds(5.0, {"cell": RoundTime("cell", 20, done=1)}) is None


def test_rounds_that_take_turns_are_told_apart():
    told = Told()
    told.progress.begin({"a": 1, "b": 1}, 0)
    for _ in range(2):
        for label, seconds, tokens in (("a", 1.0, 10), ("b", 4.0, 80)):
            told.progress.round_begins(label, 0, samples=2)
            told.sample(seconds, tokens)
    for label, rate in (("a", "10.0"), ("b", "20.0")):
        told.progress.round_begins(label, 0, samples=2)
        told.progress.round_ends("ok", None)
        assert f"{label}, round 1: {rate} tokens/s" in told.lines[-1]


def test_a_long_round_says_each_minute_how_far_it_is():
    told = Told()
    told.progress.begin({"ref": 2}, 0)
    told.progress.round_begins("ref", 0, samples=10)
    for _ in range(4):
        told.sample(25.0)
    assert told.lines == ["[1/2] ref, round 1, sample 3/10, 90 tokens, 1.2 tokens/s, about 7 min left"]


def test_a_round_that_cannot_end_in_time_is_said_once_for_its_cell():
    told = Told()
    told.progress.begin({"ref": 2}, 0)
    for index in range(2):
        told.progress.round_begins("ref", index, samples=10, timeout_s=45.0)
        for _ in range(3):
            told.sample(10.0)
        told.progress.round_ends("timeout", "too slow")
    warned = [line for line in told.lines if "--timeout" in line]
    assert len(warned) == 1 and "takes 100 s" not in warned[0] and "takes 2 min" in warned[0]
    assert "with 4 of 10 samples" in warned[0]


def test_a_reason_is_printed_once_with_the_engines_last_lines_and_where_the_rest_is(tmp_path):
    text = tmp_path / "round.engine.txt"
    text.write_text("\n".join(f"line {n}" for n in range(20)))
    told = Told(is_quiet=True)
    told.progress.begin({"ref": 3}, 0)
    for index in range(3):
        told.round("ref", index, status="crashed", reason="the process died of SIGSEGV", engine_text=text)
    lines = told.lines
    assert sum("SIGSEGV" in line for line in lines) == 1
    assert lines[1:6] == [f"  | line {n}" for n in range(15, 20)]
    assert lines[6] == f"  engine output: {text}" and "crashed, as before" in lines[7] and len(lines) == 9


def test_quiet_is_silent_where_all_is_well():
    told = Told(is_quiet=True, is_terminal=True)
    with told.progress as progress:
        progress.begin({"ref": 1}, 3)
        told.round("ref", 0)
    assert told.lines == []


def test_on_a_terminal_rounds_and_samples_are_counted_live():
    told = Told(is_terminal=True)
    with told.progress as progress:
        progress.begin({"ref": 4}, 0)
        for index in range(3):
            told.round("ref", index)
        progress.round_begins("ref", 3, samples=5)
        progress.show_above("what stands above")
        told.sample(1.0)
    shown = "\n".join(told.lines)
    assert "3/4" in shown and "1/5" in shown and "what stands above" in shown
    assert "[3/4] ref, round 3: 6.0 tokens/s, about 10 s left" in shown
