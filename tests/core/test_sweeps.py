"""Plans whose axes are crossed, zipped, conditional, left out, added and given as ranges."""

from __future__ import annotations

import math

import pytest

from decodebench import ModelCache, UsageError
from decodebench.core.cli.plan_flags import parse_options
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.measure.sweeps.ranges import values_of_range

from ..refusals import refused

THREADS = {"options": {"n_threads": [1, 2]}}


@pytest.fixture(scope="module")
def cells_of(cache):
    registry = all_plugins()

    def make(**spec):
        content = {"backend": "llama-cpp", "quantisation": "f32", **spec}
        plan = build({"workload": {"model": "tiny:draft", "task": "tiny-gsm"}, "cells": [content]}, "test")
        return expand(plan, registry, ModelCache(cache)).cells

    return make


def told(cells):
    return [(cell.quantisation, cell.changed) for cell in cells]


def test_zipped_axes_advance_together_and_cross_with_the_others(cells_of):
    spec = {"quantisation": ["f32", "q8_0"], "options": {"n_threads": [1, 2], "mmap": [True, False]}}
    assert told(cells_of(**spec, zip=[["quantisation", "n_threads"]])) == [
        ("f32", "n_threads=1"), ("f32", "n_threads=1 mmap=False"), ("q8_0", "n_threads=2"),
        ("q8_0", "n_threads=2 mmap=False"),
    ]  # fmt: skip


def test_a_condition_overrides_a_value_and_sweeps_another(cells_of):
    case = {"if": {"quantisation": "q8_0", "mmap": True}, "set": {"n_threads": 2, "n_ctx": [512, 1024]}}
    assert told(cells_of(quantisation=["f32", "q8_0"], when=[case])) == [
        ("f32", ""), ("q8_0", "n_threads=2 n_ctx=512"), ("q8_0", "n_threads=2 n_ctx=1024"),
    ]  # fmt: skip


def test_what_is_left_out_need_not_be_valid_and_further_points_are_added(cells_of):
    batches = {"n_batch": [64, 256], "n_ubatch": [64, 256]}
    with refused("bad-value", "n_ubatch=256", "n_batch=64"):
        cells_of(options=batches)
    cells = cells_of(
        options=batches,
        exclude=[{"n_batch": 64, "n_ubatch": [128, 256]}],
        include=[{"mmap": False}, {"quantisation": ["q8_0", "f16"], "n_ubatch": 32}],
    )
    assert told(cells) == [
        ("f32", "n_batch=64 n_ubatch=64"), ("f32", "n_batch=256 n_ubatch=64"), ("f32", "n_batch=256 n_ubatch=256"),
        ("f32", "n_batch=64 n_ubatch=64 mmap=False"), ("q8_0", "n_batch=64 n_ubatch=32"),
        ("f16", "n_batch=64 n_ubatch=32"),
    ]  # fmt: skip


def test_a_cell_is_the_same_however_a_plan_comes_to_it(cells_of):
    crossed = {cell.id for cell in cells_of(**THREADS)}
    assert crossed == {cell.id for cell in cells_of(options={"n_threads": {"from": 1, "to": 2}})}
    assert crossed == {cell.id for cell in cells_of(options={"n_threads": 1}, include=[{"n_threads": 2}])}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**THREADS, "exclude": [{"n_threads": 3}]}, r"exclude\[0\]: no cell .* has n_threads = 3"),
        ({**THREADS, "exclude": [{"n_thread": 2}]}, "did you mean 'n_threads'"),
        ({**THREADS, "exclude": [{"mmap": True}]}, "leaves nothing to measure"),
        ({**THREADS, "when": [{"if": {"n_threads": 9}, "set": {"mmap": False}}]}, r"when\[0\]: no cell"),
        ({**THREADS, "when": [{"iff": {}, "set": {}}]}, r"when\[0\].iff'; did you mean 'if'"),
        ({**THREADS, "zip": [["n_threads", "n_ctx"]]}, "n_ctx has no values to advance through"),
        ({"options": {"n_threads": [1, 2], "n_ctx": [512]}, "zip": [["n_threads", "n_ctx"]]}, "n_ctx has 1"),
        ({**THREADS, "include": [{"threads": 3}]}, "did you mean 'n_threads'"),
        ({"options": {"n_threads": {"from": 4, "to": 1}}}, "from must not be above to"),
        ({"options": {"n_threads": {"from": 1, "to": 4, "by": 2}}}, "unknown key 'by'"),
    ],
)
def test_a_plan_that_says_nothing_is_refused(cells_of, spec, words):
    with pytest.raises(UsageError, match=words):
        cells_of(**spec)


@pytest.mark.parametrize(
    ("told", "values"),
    [
        ({"from": 4, "to": 256, "factor": 2}, [4, 8, 16, 32, 64, 128, 256]),
        ({"from": 1, "to": 10, "step": 4}, [1, 5, 9]),
        ({"from": 1, "to": 3}, [1, 2, 3]),
        ({"from": 512, "to": 32768, "count": 4}, [512, 2048, 8192, 32768]),
        ({"from": 1, "to": 4, "count": 9}, [1, 2, 3, 4]),  # integers, each once
        ({"from": 0.0, "to": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"from": 0.01, "to": 1.0, "count": 3}, [0.01, 0.1, 1.0]),
        ({"from": 0, "to": 10, "count": 3, "scale": "linear"}, [0, 5, 10]),
    ],
)
def test_a_range_holds_both_ends_where_they_are_in_it(told, values):
    found = values_of_range("o", told)
    assert len(found) == len(values) and all(map(math.isclose, found, values))
    assert all(type(one) is type(other) for one, other in zip(found, values, strict=True))


@pytest.mark.parametrize(
    "told",
    [
        {"from": 0, "to": 4, "factor": 2}, {"from": 1, "to": 4, "step": 0}, {"from": 1, "to": 2, "count": 1},
        {"from": 0, "to": 2, "count": 3}, {"from": 1, "to": "4"}, {"from": 1, "to": 4, "step": 1, "factor": 2},
        {"from": 0, "to": 10**9}, {"from": 1, "to": 2, "count": 3, "scale": "square"},
    ],
)  # fmt: skip
def test_a_range_of_nothing_or_without_end_is_refused(told):
    with pytest.raises(UsageError, match="o = {"):
        values_of_range("o", told)


def test_a_range_is_a_value_of_a_flag():
    assert parse_options(["n_ctx={from=512,to=2048,factor=2}", "b.x=[1,2],{from=1,to=2}"]) == {
        "n_ctx": {"from": 512, "to": 2048, "factor": 2}, "b.x": [[1, 2], {"from": 1, "to": 2}],
    }  # fmt: skip
