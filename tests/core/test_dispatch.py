"""Which place gets which round: in the order of the schedule, again where a machine was lost, never twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.core.contract.launcher import Need, Place
from decodebench.core.measure.rounds.dispatch import Dispatcher

from ..at_night import at_night

CPU, GPU = Need("cpu", "a"), Need("cuda:0", "b")


def place(name, device="cpu", *backends):
    return Place(name, name, device, frozenset(backends or "ab"))


def test_places_get_what_they_can_take_in_the_order_of_the_schedule():
    found = Dispatcher([(GPU, 0), (CPU, 1), (CPU, 2), (GPU, 3)], 10, clock=lambda: 0.0)
    found.update([place("x"), place("y", "cuda"), place("z", "cuda", "a")])
    assert {where.id: what for where, what in found.assign()} == {"x": 1, "y": 0}
    assert list(found.assign()) == [] and found.running == 2
    assert not found.end(place("x")) and [what for _, what in found.assign()] == [2]
    assert not found.end(place("y", "cuda")) and [what for _, what in found.assign()] == [3]
    for where in (place("x"), place("y", "cuda")):
        found.end(where)
    assert found.is_done


def test_what_was_lost_comes_first_elsewhere_and_three_times_at_most():
    found = Dispatcher([(CPU, 0), (CPU, 1), (CPU, 2)], 10, clock=lambda: 0.0)
    found.update([place("x"), place("y")])
    assert [what for _, what in found.assign()] == [0, 1]
    assert found.end(place("x"), is_lost=True)
    found.update([place("x"), place("y")])  # the cluster has not noticed yet
    assert list(found.assign()) == []
    for host, is_again in (("y", True), ("z", False)):
        if host == "y":
            found.end(place("y"))
        found.update([place(host)])
        assert next(iter(found.assign())) == (place(host), 0)
        assert found.end(place(host), is_lost=True) is is_again


def test_what_no_place_takes_is_given_up_in_time():
    times = [0.0]
    found = Dispatcher([(CPU, 0), (GPU, 1)], 10, clock=lambda: times[-1])
    for now, late in ((0.0, []), (9.0, []), (11.0, [(GPU, 1)]), (12.0, [])):
        times.append(now)
        found.update([place("x")])
        assert list(found.overdue()) == late
    assert [what for _, what in found.assign()] == [0]


@pytest.mark.parametrize("count", at_night([1, 7], but=[1]))
@given(data=st.data())
def test_whatever_is_lost_every_round_is_finished_once_or_given_up_after_three_losses(count, data):
    now, going, places = 0.0, {}, [place("x"), place("y"), place("z")]
    found, finished, losses = Dispatcher([(CPU, at) for at in range(count)], 5, clock=lambda: now), [], [0] * count
    for _ in range(20 * count):
        now += 1
        found.update([one for one in places if data.draw(st.booleans())])
        going |= dict(found.assign())
        for where in [one for one in going if data.draw(st.booleans())]:
            what, is_lost = going.pop(where), data.draw(st.booleans())
            losses[what] += is_lost
            assert found.end(where, is_lost=is_lost) is (is_lost and losses[what] < 3)
            finished += [] if is_lost else [what]
    assert len(finished) == len(set(finished)) and all(losses[what] < 3 for what in finished)
