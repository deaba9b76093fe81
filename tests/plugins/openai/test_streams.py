"""A client under load, measured by the host: rows end at their last token, and failures stay beside answers."""

from __future__ import annotations

from decodebench import Request
from decodebench.core.measure.streams.loop import measure_stream
from decodebench.core.measure.streams.source import Load
from decodebench.core.sdk.tokenizer import Codec

from ..models import TINY
from .stub import BREAK, sse
from .test_faults import FIRST, WHOLE, part


def measured(connected, requests, concurrency, stop=()):
    load = Load(concurrency, None, [None] * len(requests))
    return measure_stream(connected.backend, requests, load, Codec(TINY, None), stop)


def requests_of(count, limit=4):
    return [Request((5, 6, 7 + row), limit, row=row) for row in range(count)]


def test_a_closed_loop_keeps_its_concurrency_and_records_failures_beside_answers(connect):
    counted = [*WHOLE[:3], *sse(part(7, finish="length", count=4))]
    connected = connect(lambda number, body: [FIRST, BREAK] if number == 3 else counted)
    answered = measured(connected, requests_of(9), 3)
    together = [sum(other.sent <= one.sent < other.end for other in answered.asked) for one in answered.asked]
    assert max(together) == 3 and len(connected.stub.bodies) == 9
    failed = [one for one in answered.asked if one.row.failure]
    assert len(failed) == 1 and "broke" in failed[0].row.failure
    for one in answered.asked:
        assert one.due <= one.sent <= one.end
        if one not in failed:
            assert one.row.ids == [4, 5, 6, 7] and len(one.row.steps) == 4
            assert one.row.steps[-1][1].counters.own["server_output_tokens"] == 4  # which came behind the last token


def test_a_stop_string_ends_a_row_of_text_and_breaks_the_request_off(connect):
    def text(*pieces, finish=None):
        events = [{"choices": [{"text": piece, "finish_reason": None}]} for piece in pieces]
        return sse(*events, {"choices": [{"text": "", "finish_reason": finish}]})

    def script(number, body):
        return text(" one", " two", " three", " four", finish="length")

    connected = connect(script, owner="me")
    answered = measured(connected, requests_of(2, limit=9), 2, stop=(" two",))
    assert [one.row.text for one in answered.asked] == [" one", " one"]
    assert all(one.row.is_cut and one.row.failure is None for one in answered.asked)
    whole = measured(connected, requests_of(1, limit=9), 1)
    assert "".join(step.text or "" for _, step in whole.asked[0].row.steps) == " one two three four"
    assert whole.asked[0].row.is_retokenised
