"""Cells: what identifies them, how options are swept, in which order rounds run."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench import ModelCache
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.measure.rounds.arrangement import schedule

from ..refusals import refused


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


@pytest.fixture(scope="module")
def cells_of(registry, cache):
    def make(**changes):
        workload = {"model": "tiny:draft", "task": "tiny-gsm", **changes.pop("workload", {})}
        spec = {"backend": "llama-cpp", "quantisation": "f32", **changes.pop("cell", {})}
        plan = build({"workload": workload, "cells": [spec], **changes}, "test")
        return expand(plan, registry, ModelCache(cache)).cells

    return make


def test_a_cell_keeps_its_identity(cells_of):
    assert cells_of()[0].id == cells_of()[0].id
    written_out = cells_of(cell={"options": {"kv_cache_type": "f16"}})
    assert cells_of()[0].id == written_out[0].id, "an option given at its default is the same cell"


@pytest.mark.parametrize(
    "change",
    [
        {"cell": {"options": {"n_threads": 1}}},
        {"cell": {"quantisation": "q8_0"}},
        {"cell": {"model": "tiny:target"}},
        {"workload": {"samples": 3}},
        {"workload": {"temperature": 0.5}},
        {"seed": 43},
    ],
)
def test_whatever_can_change_a_figure_changes_the_identity(cells_of, change):
    assert cells_of(**change)[0].id != cells_of()[0].id


def test_what_cannot_change_a_figure_does_not(cells_of):
    assert cells_of(rounds=9, timeout_s=5.0)[0].id == cells_of()[0].id


def test_lists_are_swept_and_duplicates_dropped(cells_of):
    cells = cells_of(cell={"quantisation": ["f32", "q8_0", "f32"], "options": {"n_threads": [1, 2], "mmap": False}})
    assert [(c.quantisation, c.options.n_threads) for c in cells] == [("f32", 1), ("q8_0", 1), ("f32", 2), ("q8_0", 2)]
    assert {c.options.mmap for c in cells} == {False}


def test_an_option_out_of_range_names_backend_option_and_value(cells_of):
    with refused("bad-value", "'llama-cpp'", "n_threads = 0", key="n_threads"):
        cells_of(cell={"options": {"n_threads": 0}})


@given(count=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_every_round_runs_every_cell_once_in_a_seeded_order(count, seed):
    cells = [Place(str(number)) for number in range(count)]
    orders = [schedule(cells, index, seed) for index in range(4)]
    assert orders == [schedule(cells, index, seed) for index in range(4)]
    assert all(sorted(order, key=cells.index) == cells for order in orders)


def test_the_order_differs_from_round_to_round():
    cells = [Place(str(number)) for number in range(10)]
    assert len({tuple(schedule(cells, index, 42)) for index in range(5)}) > 1


def test_cells_of_one_server_follow_each_other():
    cells = [Place(str(number), "served" if number % 2 else None) for number in range(10)]
    for index in range(5):
        keys = [cell.server_key for cell in schedule(cells, index, 42)]
        assert len(list(groupby(keys))) <= 3 and keys.count("served") == 5


class Place(NamedTuple):
    """What the schedule looks at of a cell."""

    id: str
    server_key: str | None = None


def test_each_load_is_a_cell_with_its_name(cells_of):
    cells = cells_of(workload={"concurrency": [1, 4], "request_rate": 2.5})
    assert [cell.workload.loads() for cell in cells] == [
        {"concurrency": 1, "request_rate": 2.5},
        {"concurrency": 4, "request_rate": 2.5},
    ]
    assert [cell.changed for cell in cells] == ["concurrency=1 request_rate=2.5", "concurrency=4 request_rate=2.5"]
    assert len({cell.id for cell in (*cells, *cells_of())}) == 3
    assert cells_of(workload={"concurrency": 1, "slo": "ttft=1s"})[0].id == cells_of(workload={"concurrency": 1})[0].id


@pytest.mark.parametrize(
    ("backend", "workload", "named"),
    [
        ("dflash", {"concurrency": 2}, r"concurrency: backend 'dflash'"),
        ("dflash", {"task": None, "trace": "t.jsonl"}, r"trace: backend 'dflash'"),
        ("transformers", {"concurrency": [1, 100]}, r"concurrency = 100: backend 'transformers' takes at most 64"),
    ],
)
def test_a_backend_that_cannot_bear_a_load_is_refused(cells_of, backend, workload, named):
    with refused("not-supported", named):
        cells_of(cell={"backend": backend, "quantisation": None}, workload=workload)
