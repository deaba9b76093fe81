"""The timed loop with a clock of our own: exact times, exact trimming, and the contract's faults."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import pytest

from decodebench import Availability, Backend, PluginError, Request, Step
from decodebench.core.measure.timed_loop import measure, measure_with_stop


class Clock:
    """A clock in nanoseconds that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


class Scripted(Backend):
    """Yields given steps; the clock moves by each one's time before it."""

    name, summary, kind = "scripted", "replays steps", "autoregressive"

    def __init__(self, clock: Clock, script: Sequence[tuple[int, Step]]) -> None:
        self.clock, self.script, self.is_closed = clock, script, False

    @classmethod
    def probe(cls) -> Availability:
        return Availability(True)

    @classmethod
    def quantisations(cls):
        return []

    def load(self, model, device, options):
        raise AssertionError

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        assert not gc.isenabled()
        try:
            for elapsed, step in self.script:
                self.clock.now += elapsed
                yield step
        finally:
            self.is_closed = True


def request(limit: int = 3, stop: tuple[int, ...] = (9,)) -> Request:
    return Request(prompt_ids=(1, 2), max_new_tokens=limit, stop_token_ids=stop)


def test_steps_are_stamped_from_the_start_of_the_batch():
    clock = Clock()
    backend = Scripted(clock, [(100, Step([5])), (30, Step([6, 7]))])
    batch = measure(backend, [request()], clock)
    assert [(t, list(s.token_ids)) for t, s in batch.rows[0].steps] == [(100, [5]), (130, [6, 7])]
    assert (batch.start_ns, batch.wall_ns) == (1_000, 130)
    assert gc.isenabled()


def test_rows_of_a_batch_are_told_apart():
    clock = Clock()
    script = [(10, Step([5], row=0)), (10, Step([9], row=1)), (10, Step([6], row=0)), (10, Step([9], row=0))]
    batch = measure(Scripted(clock, script), [request(), request()], clock)
    assert [row.ids for row in batch.rows] == [[5, 6, 9], [9]]
    assert batch.wall_ns == 40


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([], "no token was committed"),
        ([Step([5, 6, 7, 8])], "4 tokens committed, the limit is 3"),
        ([Step([9]), Step([5])], "1 tokens committed after the stop token"),
        ([Step([5])], "it ended after 1 of 3 tokens without a stop token"),
        ([Step([5], row=2)], "row 2 in a batch of 1"),
        ([Step([5, 6, 9], drafted=1, accepted=2)], "2 tokens accepted of 1 drafted"),
        ([Step([5, 6, 9], counters={"draft_tokens": 1})], "a step's counters are dict, not EngineCounters"),
        ([Step([5, 6, 9], positions=[0])], "1 positions for 3 tokens"),
        ([Step([-1, 6, 9])], "negative token id"),
    ],
)
def test_a_broken_contract_is_named(steps, fault):
    clock = Clock()
    with pytest.raises(PluginError, match=fault):
        measure(Scripted(clock, [(1, step) for step in steps]), [request()], clock)


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(ord("a") + token) for token in ids)


def test_a_stop_string_trims_what_lies_behind_and_closes_the_backend():
    clock = Clock()
    backend = Scripted(clock, [(10, Step([0, 1])), (10, Step([2, 3, 4])), (10, Step([5]))])
    batch = measure_with_stop(backend, [request(limit=10)], ["cd"], letters, clock)
    row = batch.rows[0]
    assert row.ids == [0, 1, 2, 3], "the token that completes the stop string counts, those behind it do not"
    assert row.text == "ab"
    assert backend.is_closed


def test_a_stop_string_across_two_steps_is_found():
    clock = Clock()
    backend = Scripted(clock, [(10, Step([0, 1])), (10, Step([2, 3]))])
    batch = measure_with_stop(backend, [request(limit=10)], ["bc"], letters, clock)
    assert batch.rows[0].ids == [0, 1, 2]
    assert batch.rows[0].text == "a"


def test_time_spent_on_looking_for_stop_strings_is_not_the_engines():
    clock = Clock()

    def slow(ids: Sequence[int]) -> str:
        clock.now += 1_000_000
        return letters(ids)

    backend = Scripted(clock, [(10, Step([0])), (20, Step([1])), (30, Step([9]))])
    batch = measure_with_stop(backend, [request()], ["zz"], slow, clock)
    assert [t for t, _ in batch.rows[0].steps] == [10, 30, 60]


def placed(ids: Sequence[int], positions: Sequence[int]) -> Step:
    return Step(list(ids), positions=list(positions))


def test_tokens_that_land_in_any_order_are_read_in_order_of_position():
    clock = Clock()
    batch = measure(Scripted(clock, [(10, placed([7], [2])), (10, placed([5, 6], [0, 1]))]), [request()], clock)
    row = batch.rows[0]
    assert row.ids == [5, 6, 7]
    assert [(now, list(step.token_ids)) for now, step in row.steps] == [(10, [7]), (20, [5, 6])]


def test_what_lies_behind_the_stop_token_or_the_limit_is_not_counted():
    """A step that committed nothing visible stays: its time was spent."""
    clock = Clock()
    script = [(10, placed([8, 8], [4, 5])), (10, placed([9], [1])), (10, placed([5, 4], [0, 2]))]
    row = measure(Scripted(clock, script), [request(limit=6)], clock).rows[0]
    assert row.ids == [5, 9]
    assert [(now, list(step.token_ids), list(step.positions)) for now, step in row.steps] == [
        (10, [], []),
        (20, [9], [1]),
        (30, [5], [0]),
    ]
    clock = Clock()
    row = measure(Scripted(clock, [(10, placed([3, 4, 5, 6], [0, 1, 2, 3]))]), [request(limit=3)], clock).rows[0]
    assert row.ids == [3, 4, 5]


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([placed([5, 7], [0, 2]), placed([6], [2])], "position 2 was committed twice"),
        ([placed([5, 6], [1, 2])], "nothing was committed at position 0, but behind it"),
        ([placed([5], [0]), placed([9], [2])], "nothing was committed at position 1"),
        ([placed([5], [0])], "it ended after 1 of 3 tokens"),
        ([Step([5, 6], positions=[0])], "1 positions for 2 tokens"),
        ([placed([5, 6, 7], [-1, 0, 1])], "a token at position -1"),
        ([placed([5], [0]), Step([6])], "some steps say where their tokens landed, others do not"),
    ],
)
def test_positions_that_leave_a_gap_or_come_twice_break_the_contract(steps, fault):
    clock = Clock()
    script = [(1, step) for step in steps]
    with pytest.raises(PluginError, match=fault):
        measure(Scripted(clock, script), [request(limit=3)], clock)


@pytest.mark.parametrize("step", [Step([5, 6], positions=[0]), Step([5], positions=[-2])])
def test_a_wrong_step_is_told_before_stop_strings_are_looked_for(step):
    clock = Clock()
    with pytest.raises(PluginError, match="positions for 2 tokens|a token at position -2"):
        measure_with_stop(Scripted(clock, [(1, step)]), [request()], ["x"], str, clock)


def test_a_stop_string_is_looked_for_in_what_is_known_from_the_start_on():
    clock = Clock()
    script = [(10, placed([ord("c"), ord("d")], [2, 3])), (10, placed([ord("a")], [0])), (10, placed([ord("b")], [1]))]
    backend = Scripted(clock, [*script, (10, placed([ord("e")], [4]))])
    decode = "".join

    row = measure_with_stop(backend, [request(limit=9)], ["bc"], lambda ids: decode(map(chr, ids)), clock).rows[0]
    assert row.is_cut and row.text == "a" and row.ids == [ord("a"), ord("b"), ord("c")]
    assert len(row.steps) == 3 and backend.is_closed
