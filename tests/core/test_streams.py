"""The timed loop over streams: when requests are due and taken, where rows end, what a broken stream costs."""

from __future__ import annotations

import random
import statistics

import pytest

from decodebench import BackendError, PluginError, Request, Step
from decodebench.core.measure.streams.arrivals import poisson, scaled
from decodebench.core.measure.streams.loop import measure_stream
from decodebench.core.measure.streams.source import Load

STOP = 9
S = 10**9


class Codec:
    """A letter per id, as a tokenizer with one token per letter would have it."""

    def encode_behind(self, text):
        return [ord(letter) - ord("a") for letter in text]

    def decode_behind(self, ids):
        return "".join(chr(ord("a") + token) for token in ids)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Engine:
    """Advances every row by a token a second, and admits between two seconds.

    Args:
        clock: it moves.
        tokens: the ids of each row's answer.
        make: the step of an id; None breaks off.
    """

    name, max_batch_size = "engine", 8

    def __init__(self, clock, tokens, make=lambda row, token, is_last: Step((token,), row=row)):
        self.clock, self.tokens, self.make = clock, tokens, make

    def stream(self, source, max_in_flight):
        rows = {}
        while rows or not source.ended:
            if not rows and (left := source.until_due_s()):
                self.clock.now += round(left * S)  # as source.wait does, on this clock
            while len(rows) < max_in_flight and (request := source.poll()) is not None:
                rows[request.row] = list(self.tokens[request.row])
            self.clock.now += S
            for row, left in list(rows.items()):
                if not source.wants(row):
                    del rows[row]
                    continue
                token = left.pop(0)
                yield self.make(row, token, not left)
                if not left:
                    del rows[row]


def requests_for(answers, **changes):
    return [Request((1,), len(ids), row=row, **changes) for row, ids in enumerate(answers)]


def measured(answers, load, engine=None, stop=(), **changes):
    clock = Clock()
    made = Engine(clock, answers) if engine is None else Engine(clock, answers, engine)
    found = measure_stream(made, requests_for(answers, **changes), load, Codec(), stop, clock)
    return found, [(one.due, one.sent, one.end) for one in found.asked]


def test_in_a_closed_loop_a_request_is_due_when_one_before_it_has_ended():
    found, times = measured([[1] * 2, [1] * 4, [1] * 2, [1]], Load(2))
    assert times == [(0, 0, 2 * S), (0, 0, 4 * S), (2 * S, 2 * S, 4 * S), (4 * S, 4 * S, 5 * S)]
    assert (found.start_ns, found.wall_ns, found.broken) == (0, 5 * S, None)
    assert [[at for at, _ in one.row.steps] for one in found.asked] == [
        [S, 2 * S],
        [S, 2 * S, 3 * S, 4 * S],
        [S, 2 * S],
        [S],
    ]


def test_in_an_open_loop_requests_are_due_whatever_runs_and_wait_for_a_free_row():
    due = [3 * S, 3 * S + 1, 4 * S]
    found, times = measured([[1] * 3] * 3, Load(None, due))
    # the second one came while the engine was busy with a step of the first, the third as well
    assert [one[0] for one in times] == due and [one[1] for one in times] == [3 * S, 4 * S, 4 * S]
    assert found.start_ns == 3 * S
    _, limited = measured([[1] * 3] * 3, Load(1, due))
    assert [one[1] for one in limited] == [3 * S, 6 * S, 9 * S]  # queueing counts: due stays what it was
    assert [one[0] for one in limited] == due


def test_a_turn_is_due_when_the_one_before_it_has_ended():
    _, times = measured([[1] * 2, [1], [1], [1]], Load(1, None, [None, 0, None, 2]))
    assert [one[1] for one in times] == [0, 2 * S, 3 * S, 4 * S]
    _, later = measured([[1] * 2, [1], [1] * 4], Load(None, [0, 0, 10 * S], [None, 0, None]))
    assert [one[:2] for one in later] == [(0, 0), (2 * S, 2 * S), (10 * S, 10 * S)]


def test_rows_end_at_stop_tokens_stop_strings_and_where_the_engine_says_so():
    found, _ = measured([[1, STOP], [1, 2, 3, 4, 5]], Load(2), stop=["cd"], stop_token_ids=(STOP,))
    first, second = found.asked
    assert first.row.ids == [1, STOP]
    assert second.row.is_cut and (second.row.text, second.row.ids) == ("b", [1, 2, 3])  # "d" completes the stop string

    def early(row, token, is_last):
        return Step((token,), row=row, finish="stop" if token == 7 else None)

    clock = Clock()
    engine = Engine(clock, [[1, 7]], early)
    found = measure_stream(engine, [Request((1,), 50)], Load(1), Codec(), (), clock)
    assert found.asked[0].row.finish == "stop" and found.asked[0].end == 2 * S


def test_text_is_encoded_as_a_whole_and_each_token_belongs_to_the_step_that_completes_it():
    class Pairs(Codec):
        """Two letters are a token wherever they can be."""

        def encode_behind(self, text):
            return [int(text[at : at + 2].encode().hex(), 16) for at in range(0, len(text), 2)]

        def decode_behind(self, ids):
            return "".join(bytes.fromhex(f"{token:04x}").decode() for token in ids)

    def text(row, token, is_last):
        return Step((), row=row, text=("abc", "d", "ef")[token], finish="length" if is_last else None)

    clock = Clock()
    found = measure_stream(Engine(clock, [[0, 1, 2]], text), [Request((1,), 9)], Load(1), Pairs(), (), clock)
    row = found.asked[0].row
    assert row.is_retokenised and [len(step.token_ids) for _, step in row.steps] == [1, 1, 1]
    assert Pairs().decode_behind(row.ids) == "abcdef"


def test_a_request_that_fails_leaves_the_others_and_an_engine_that_dies_what_it_had_answered():
    def refusing(row, token, is_last):
        return Step((), row=row, failure="HTTP 429") if row == 1 else Step((token,), row=row)

    clock = Clock()
    engine = Engine(clock, [[1] * 3, [1], [1] * 2], refusing)
    found = measure_stream(engine, requests_for([[1] * 3, [1] * 5, [1] * 2]), Load(2), Codec(), (), clock)
    assert [one.row.failure for one in found.asked] == [None, "HTTP 429", None]
    assert found.asked[2].due == S  # its slot was free at once

    def dying(row, token, is_last):
        if row == 2:
            raise BackendError("the server has ended")
        return Step((token,), row=row)

    found, times = measured([[1], [1] * 2, [1]], Load(2), dying)
    assert str(found.broken) == "the server has ended" and [one[2] for one in times] == [S, 2 * S, None]


def test_a_stream_that_breaks_its_contract_is_refused():
    def strange(row, token, is_last):
        return Step((token,), row=row + 1)

    with pytest.raises(PluginError, match="row 1, which was not handed out"):
        measured([[1], [1]], Load(1), strange)

    class Stops(Engine):
        def stream(self, source, max_in_flight):
            yield Step((1,), row=source.poll().row)

    with pytest.raises(PluginError, match="ended before request 0, after 1 tokens"):
        measure_stream(Stops(Clock(), []), requests_for([[1] * 2]), Load(1), Codec(), (), Clock())

    class Waits(Engine):
        def stream(self, source, max_in_flight):
            source.poll()
            source.wait()
            yield Step((1,))

    with pytest.raises(PluginError, match="waits for a request while rows run"):
        measure_stream(Waits(Clock(), []), requests_for([[1] * 2]), Load(1), Codec(), (), Clock())


def test_random_arrivals_are_a_poisson_process_of_the_rate_that_was_asked_for():
    times = poisson(5.0, 4000, seed=1)
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert statistics.fmean(gaps) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.08)  # as long as their mean: exponential
    assert poisson(5.0, 4000, seed=1) == times != poisson(5.0, 4000, seed=2)
    chooser = random.Random(1)
    recorded = sorted(chooser.uniform(100, 200) for _ in range(50))
    assert scaled(recorded, None) == pytest.approx([at - recorded[0] for at in recorded])
    assert 49 / scaled(recorded, 2.0)[-1] == pytest.approx(2.0)
