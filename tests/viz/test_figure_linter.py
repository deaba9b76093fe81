"""The linter of figures can fail: for each check a figure without fault, and one with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from decodebench.viz.drawing import style
from decodebench.viz.drawing.intervals import interval, mark_ends
from decodebench.viz.drawing.scales import number_ratios, scale_values

from .figure_linter import CHECKS, faults_of

BLUE, ORANGE = "#0072B2", "#D55E00"


@contextmanager
def figure(**limits) -> Iterator[tuple]:
    """Give a figure and its axes, of a look without title and caption."""
    with style.applied("test"):
        canvas, (axes,) = style.canvas("Title")
        axes.set(xlim=(0, 4), ylim=(0, 10), ylabel="speed", **limits)
        yield canvas, axes


def overlapping(axes):
    axes.text(1, 5, "one word")
    axes.text(1.05, 5.1, "another")


def turned_but_apart(axes):
    axes.set_xticks(range(5), [f"experiment-{i}" for i in range(5)], rotation=30, ha="right")


def cut(axes):
    axes.text(3.9, 5, "a word that leaves the picture").set_in_layout(False)


def clipped(axes):
    axes.text(3.9, 9.9, "word", clip_on=True)


def tiny(axes):
    axes.text(1, 5, "word", fontsize=4)


def powers(axes):
    axes.set_yticks([1, 5], ["$10^{0}$", "5e+3"])


def digits(axes):
    axes.set_yticks([1, 5], ["1.23456", "5"])


def one_number(axes):
    axes.set_yticks([5])


def plain_ratios(axes):
    axes.set_xlabel("speed against the baseline")
    axes.set(xscale="log", xlim=(0.2, 5))
    axes.set_xticks([0.25, 1, 4], ["0.25", "1", "4"])


def ratios(axes):
    axes.set_xlabel("speed against the baseline")
    axes.set(xscale="log", xlim=(0.2, 5))
    number_ratios(axes.xaxis)


def pale_line(axes):
    axes.plot([1, 2], [1, 2], color="#E69F00")


def faint_line(axes):
    axes.plot([1, 2], [1, 2], color=BLUE, alpha=0.3)


def pale_ground(axes):
    axes.axvspan(1, 2, color=BLUE, alpha=0.12, linewidth=0, gid=style.GROUND)


def dark_on_dark(axes):
    axes.bar([2], [8], color="#17324d")
    axes.text(2, 4, "word", ha="center", color=style.INK)


def another_colour(axes):
    axes.plot([1, 2], [1, 2], "o", color=ORANGE, label="engine q8_0")
    style.legend_above(axes)


def another_colour_of_a_row(axes):
    axes.set_yticks([2, 4], ["engine q8_0", "engine f16"])
    axes.barh([2, 4], [1, 2], color=[ORANGE, BLUE])


def a_shade(axes):
    axes.plot([1, 2], [1, 2], "o", color=style.shade(BLUE, 0.4), label="engine q8_0")
    style.legend_above(axes)


def mean_outside(axes):
    axes.plot([1], [5], "o", color=BLUE)
    interval(axes, 1, (6, 7), along="y", colour=BLUE)


def bar_outside(axes):
    axes.bar([1], [5], color=BLUE)
    interval(axes, 1, (6, 7), along="y", colour=style.INK)


def without_arrow(axes):
    axes.plot([1], [5], "o", color=BLUE)
    interval(axes, 1, (4, 70), along="y", colour=BLUE)
    axes.set_ylim(0, 10)


def with_arrow(axes):
    without_arrow(axes)
    mark_ends(axes.get_figure())


def bar_beyond(axes):
    axes.bar([1], [12], color=BLUE)
    axes.set_ylim(0, 10)


def lost_at_the_bottom(axes):
    axes.barh([1, 2], [0.1, 0.2], color=BLUE)


def linear_decades(axes):
    axes.bar([1, 2], [0.5, 9], color=BLUE)


def logarithmic_decades(axes):
    for x, y in ((1, 0.5), (2, 9)):
        axes.plot([x], [y], "o", color=BLUE)
        interval(axes, x, (0.9 * y, 1.1 * y), along="y", colour=BLUE)
    scale_values(axes, "y", [0.5, 9])


def bar_of_nothing(axes):
    axes.bar([1, 2], [0, 9], color=BLUE)


def point_at_nothing(axes):
    axes.plot([1, 2], [0, 9], "o-", color=BLUE)


FAULTY = [
    (overlapping, "texts_do_not_overlap"), (cut, "texts_are_whole"), (clipped, "texts_are_whole"),
    (tiny, "texts_are_large_enough"), (powers, "ticks_are_readable"), (digits, "ticks_are_readable"),
    (one_number, "ticks_are_readable"), (plain_ratios, "ticks_are_readable"),
    (pale_line, "everything_can_be_seen"), (faint_line, "everything_can_be_seen"),
    (dark_on_dark, "everything_can_be_seen"), (another_colour, "a_backend_has_its_colour"),
    (another_colour_of_a_row, "a_backend_has_its_colour"), (mean_outside, "a_mean_lies_in_its_interval"),
    (bar_outside, "a_mean_lies_in_its_interval"), (without_arrow, "what_is_cut_has_an_arrow"),
    (bar_beyond, "marks_stand_within_their_axes"), (lost_at_the_bottom, "marks_stand_within_their_axes"),
    (linear_decades, "a_decade_is_logarithmic"), (bar_of_nothing, "the_unknown_is_not_zero"),
    (point_at_nothing, "the_unknown_is_not_zero"),
]  # fmt: skip


@pytest.mark.parametrize(("draw", "name"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_found_by_its_check(draw, name):
    with figure() as (canvas, axes):
        draw(axes)
        found = faults_of(canvas, {"engine": BLUE})
    assert name in {fault.partition(":")[0] for fault in found}


@pytest.mark.parametrize("draw", [turned_but_apart, ratios, pale_ground, a_shade, with_arrow, logarithmic_decades])
def test_what_is_right_is_no_fault(draw):
    with figure() as (canvas, axes):
        draw(axes)
        assert faults_of(canvas, {"engine": BLUE}) == []


def test_every_check_has_a_figure_that_it_finds():
    assert {one.__name__ for one in CHECKS} == {name for _, name in FAULTY}
