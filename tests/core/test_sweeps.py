"""Plans whose axes are crossed, zipped, conditional, left out, added and given as ranges."""

from __future__ import annotations

import math

import pytest

from decodebench import ModelCache, UsageError
from decodebench.core.cli.plan_flags import parse_options
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.measure.prompts import Prompts
from decodebench.core.measure.sweeps.ranges import values_of_range

from ..refusals import refused

TASK = {"task": "tiny-gsm"}
RANDOM = {"prompt_tokens": [16, 64], "output_tokens": [2, 4], "depth": 0}
THREADS = {"options": {"n_threads": [1, 2]}}


@pytest.fixture(scope="module")
def cells_of(cache):
    registry = all_plugins()

    def make(workload=TASK, /, **spec):
        content = {"backend": "llama-cpp", "quantisation": "f32", **spec}
        plan = build({"workload": {"model": "tiny:draft", **workload}, "cells": [content]}, "test")
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
    own = {"if": {"n_threads": 1}, "set": {"n_threads": 3}}
    assert told(cells_of(**THREADS, when=[own])) == [("f32", "n_threads=3"), ("f32", "n_threads=2")]
    ranges = {"options": {"n_threads": {"from": 1, "to": 8}}, "exclude": [{"n_threads": {"from": 2, "to": 7}}]}
    assert told(cells_of(**ranges)) == [("f32", "n_threads=1"), ("f32", "n_threads=8")]
    case = {"if": {"quantisation": "q8_0", "mmap": True}, "set": {"n_threads": 2, "n_ctx": [512, 1024]}}
    assert told(cells_of(quantisation=["f32", "q8_0"], when=[case])) == [
        ("f32", ""), ("q8_0", "n_threads=2 n_ctx=512"), ("q8_0", "n_threads=2 n_ctx=1024"),
    ]  # fmt: skip


LOADS = {**RANDOM, "prompt_tokens": 16, "output_tokens": 2}


@pytest.mark.parametrize(
    ("rates", "condition", "left"),
    [
        ([0.5, 1, 2], {"from": 0.5, "to": 2.0}, []),
        ([0.25, 0.5, 1.9, 2, 4], {"from": 0.5, "to": 2}, [0.25, 4]),
        ([0.5, 1, 1.5, 2], {"from": 0.5, "to": 2, "step": 0.5}, []),
        ([0.5, 1, 1.75, 2], {"from": 0.5, "to": 2, "count": 3}, [1.75]),
        ([0.5, 1, 2, 4, 8], [{"from": 0, "to": 0.9}, 2, {"from": 3, "to": 5}], [1, 8]),
        ({"from": 0.1, "to": 0.4, "step": 0.1}, {"from": 0.2, "to": 0.3}, [0.1, 0.4]),
    ],
)
def test_a_range_in_a_condition_means_between_unless_it_names_its_values(cells_of, rates, condition, left):
    spec = {"workload": {"request_rate": rates}, "include": [{"request_rate": 99}]}
    cells = cells_of(LOADS, **spec, exclude=[{"request_rate": condition}])
    assert [cell.workload.request_rate[0] for cell in cells] == [*left, 99]
    case = {"if": {"request_rate": condition}, "set": {"n_threads": 3}}
    cells = cells_of(LOADS, **spec, when=[case])
    assert [cell.workload.request_rate[0] for cell in cells if cell.options.n_threads != 3] == [*left, 99]


def test_a_range_has_the_cells_of_the_list_that_a_person_writes(cells_of):
    def ids(rates):
        return [cell.id for cell in cells_of(LOADS, workload={"request_rate": rates})]

    assert ids({"from": 0.1, "to": 0.3, "step": 0.1}) == ids([0.1, 0.2, 0.3])
    assert ids({"from": 0.3, "to": 0.9, "count": 3, "scale": "linear"}) == ids([0.3, 0.6, 0.9])


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


def lengths(cells):
    return [(cell.workload.prompt_tokens, cell.workload.output_tokens, cell.workload.depth) for cell in cells]


def test_axes_of_the_workload_are_zipped_conditional_left_out_and_added_like_options(cells_of):
    zipped = cells_of(RANDOM, zip=[["prompt_tokens", "output_tokens"]])
    assert lengths(zipped) == [(16, 2, 0), (64, 4, 0)]
    assert [cell.expanded_options["prompt_tokens"] for cell in zipped] == [16, 64]
    alone = [cells_of({"prompt_tokens": p, "output_tokens": o})[0].id for p, o in ((16, 2), (64, 4))]
    assert [cell.id for cell in zipped] == alone
    found = cells_of(
        RANDOM,
        **THREADS,
        zip=[["prompt_tokens", "output_tokens"]],
        when=[{"if": {"prompt_tokens": 64}, "set": {"depth": {"from": 32, "to": 128, "factor": 4}}}],
        exclude=[{"n_threads": 2, "depth": [32, 128]}],
        include=[{"n_threads": 2, "prompt_tokens": 8}],
    )
    assert [(cell.options.n_threads, *one) for cell, one in zip(found, lengths(found), strict=True)] == [
        (1, 16, 2, 0), (1, 64, 4, 32), (1, 64, 4, 128), (2, 16, 2, 0), (2, 8, 2, 0),
    ]  # fmt: skip


def test_a_part_has_values_of_its_own_and_its_prompts_are_as_long_as_they_say(cells_of):
    ranges = {"prompt_tokens": {"from": 16, "to": 64, "factor": 2}, "output_tokens": 2}
    assert [one[0] for one in lengths(cells_of(ranges))] == [16, 32, 64]
    (cell,) = cells_of(ranges, workload={"prompt_tokens": 128, "depth": 8})
    assert lengths([cell]) == [(128, 2, 8)] and cell.axes == ()
    assert {job.random_tokens for job in Prompts(()).jobs_of(cell)} == {136}


def test_loads_and_chat_arguments_are_axes(cells_of):
    load = {**RANDOM, "concurrency": {"from": 1, "to": 4, "factor": 2}}
    zipped = {"zip": [["prompt_tokens", "output_tokens"]], "exclude": [{"prompt_tokens": 64, "concurrency": [2, 4]}]}
    assert [(cell.workload.prompt_tokens, cell.workload.in_flight) for cell in cells_of(load, **zipped)] == [
        (16, 1), (16, 2), (16, 4), (64, 1),
    ]  # fmt: skip
    chat = {**TASK, "chat": True, "template_args": {"enable_thinking": [True, False]}}
    when = {"if": {"template.enable_thinking": True}, "set": {"template.budget": [1, 2]}}
    assert [cell.workload.template_args for cell in cells_of(chat, when=[when])] == [
        {"enable_thinking": True, "budget": 1}, {"enable_thinking": True, "budget": 2}, {"enable_thinking": False},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("workload", "spec", "words"),
    [
        (RANDOM, {"zip": [["prompt_tokens", "depth"]]}, "depth has no values to advance through"),
        ({**RANDOM, "output_tokens": [1, 2, 3]}, {"zip": [["prompt_tokens", "output_tokens"]]}, "output_tokens has 3"),
        (RANDOM, {"exclude": [{"prompt_token": 16}]}, "did you mean 'prompt_tokens'"),
        ({**RANDOM, "concurrency": [1, 2]}, {"exclude": [{"concurrency": True}]}, "concurrency = True"),
        (RANDOM, {"exclude": [{"prompt_tokens": {"from": 17, "to": 63}}]}, "no cell"),
        (RANDOM, {"exclude": [{"prompt_tokens": 17}]}, "prompt_tokens = 17"),
        (RANDOM, {"workload": {"samples": 3}}, "unknown axis 'samples' in workload"),
        (RANDOM, {"include": [{"depth": -1}]}, "depth = -1"),
        (TASK, {"workload": {"depth": 4}}, "need prompt_tokens"),
        (RANDOM, {"workload": {"concurrency": 9999}}, "takes at most"),
        ({"prompt_tokens": {"from": 0, "to": 64, "factor": 2}}, {}, "needs a from above 0"),
        ({"prompt_tokens": {"from": 64, "to": 16, "factor": 2}}, {}, "from must not be above to"),
        ({"prompt_tokens": []}, {}, "prompt_tokens"),
        (RANDOM, {"workload": {"depth": []}}, "an empty list sweeps nothing"),
    ],
)
def test_a_plan_whose_workload_says_nothing_is_refused(cells_of, workload, spec, words):
    with pytest.raises(UsageError, match=words):
        cells_of(workload, **spec)


HUGE = {"from": 1, "to": 99_990}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**THREADS, "exclude": [{"n_threads": 3}]}, r"exclude\[0\]: no cell .* has n_threads = 3"),
        ({**THREADS, "exclude": [{"n_threads": True}]}, r"exclude\[0\]: no cell .* has n_threads = True"),
        ({**THREADS, "exclude": [{"n_threads": {"from": 3, "to": 9}}]}, r"exclude\[0\]: no cell"),
        ({**THREADS, "exclude": [{"n_threads": {"from": 3, "to": 1}}]}, "from must not be above to"),
        ({**THREADS, "exclude": [{"mmap": 1}]}, r"exclude\[0\]: no cell"),
        ({**THREADS, "exclude": [{"mmap": {"from": 0, "to": 1}}]}, r"exclude\[0\]: no cell"),
        ({**THREADS, "when": [{"if": {"n_threads": True}, "set": {"mmap": False}}]}, r"when\[0\]: no cell"),
        (
            {**THREADS, "when": [{"if": {"n_threads": 1}, "set": {}}]},
            r"when\[0\]: set changes no cell .* gives nothing",
        ),
        (
            {**THREADS, "when": [{"if": {"n_threads": 1}, "set": {"n_threads": 1}}]},
            "set changes no cell .* n_threads = 1",
        ),
        ({**THREADS, "when": [{"if": {"n_threads": 1}, "set": {"mmap": True}}]}, "set changes no cell .* mmap = True"),
        ({**THREADS, "when": [{"if": {}, "set": {"quantisation": "f32"}}]}, "set changes no cell"),
        ({**THREADS, "exclude": [{"n_thread": 2}]}, "did you mean 'n_threads'"),
        ({**THREADS, "exclude": [{"mmap": True}]}, "leaves nothing to measure"),
        ({**THREADS, "when": [{"if": {"n_threads": 9}, "set": {"mmap": False}}]}, r"when\[0\]: no cell"),
        ({**THREADS, "when": [{"iff": {}, "set": {}}]}, r"when\[0\].iff'; did you mean 'if'"),
        ({**THREADS, "zip": [["n_threads"]]}, r"zip\[0\]: name two axes"),
        ({**THREADS, "zip": [[]]}, r"zip\[0\]: name two axes"),
        ({**THREADS, "device": ["cpu", "cpu"], "zip": [["n_threads", "device"]] * 2}, "n_threads is in another group"),
        ({**THREADS, "when": [{"if": {}, "set": {"device": []}}]}, "device: an empty list"),
        (
            {"options": {"n_ctx": {"from": 1, "to": 9999}, "n_batch": {"from": 1, "to": 9999}}},
            "99,980,001 combinations",
        ),
        (
            {**THREADS, "when": [{"if": {}, "set": {"n_ctx": HUGE, "n_batch": HUGE}}]},
            "19,996,000,200 combinations",
        ),
        ({**THREADS, "include": [{"n_ctx": HUGE, "n_batch": HUGE}]}, "9,998,000,102 combinations"),
        ({"options": {"n_threads": [1, True]}}, r"n_threads = True: must be a number"),
        ({"workload": {"concurrency": [True]}}, "concurrency = .True.*: must be a number"),
        ({**THREADS, "include": [{"depth": False}]}, "depth = False: must be a number"),
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
        ({"from": 0.1, "to": 0.3, "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"from": -0.3, "to": 0.3, "step": 0.3}, [-0.3, 0.0, 0.3]),
        ({"from": 0.3, "to": 0.9, "count": 3}, [0.3, 0.519615242271, 0.9]),
        ({"from": 0.3, "to": 0.9, "count": 3, "scale": "linear"}, [0.3, 0.6, 0.9]),
        ({"from": 0.7, "to": 70, "factor": 10}, [0.7, 7.0, 70.0]),
        ({"from": 0, "to": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"from": 1e-10, "to": 3e-10, "step": 1e-10}, [1e-10, 2e-10, 3e-10]),
        ({"from": 0.1234567890123456, "to": 1.0, "step": 0.5}, [0.1234567890123456, 0.623456789012]),
        ({"from": 10.0**12, "to": 10.0**12 + 1, "step": 0.5}, [10.0**12, 10.0**12 + 0.5, 10.0**12 + 1]),
        ({"from": 0, "to": 10, "count": 3, "scale": "linear"}, [0, 5, 10]),
        ({"from": 1e-300, "to": 1e14, "count": 3}, [1e-300, 1e-143, 1e14]),
    ],
)
def test_a_range_holds_both_ends_where_they_are_in_it(told, values):
    found = values_of_range("o", told)
    assert found == values
    assert all(type(one) is type(other) for one, other in zip(found, values, strict=True))


@pytest.mark.parametrize(
    "told",
    [
        {"from": 0, "to": 4, "factor": 2}, {"from": 1, "to": 4, "step": 0}, {"from": 1, "to": 2, "count": 1},
        {"from": 0, "to": 2, "count": 3}, {"from": 1, "to": "4"}, {"from": 1, "to": 4, "step": 1, "factor": 2},
        {"from": 0, "to": 10**9}, {"from": 1, "to": 2, "count": 3, "scale": "square"}, {"from": 1, "to": 4, "step": -1},
        {"from": 1, "to": math.inf}, {"from": 1, "to": math.nan}, {"from": 1, "to": 2, "factor": math.inf},
        {"from": 1, "to": 10**400}, {"from": 1, "to": 4, "scale": "log"},
    ],
)  # fmt: skip
def test_a_range_of_nothing_or_without_end_is_refused(told):
    with pytest.raises(UsageError, match="o = {"):
        values_of_range("o", told)


def test_a_range_is_a_value_of_a_flag():
    assert parse_options(["n_ctx={from=512,to=2048,factor=2}", "b.x=[1,2],{from=1,to=2}"]) == {
        "n_ctx": {"from": 512, "to": 2048, "factor": 2}, "b.x": [[1, 2], {"from": 1, "to": 2}],
    }  # fmt: skip


def test_a_value_added_later_joins_its_experiment_and_is_measured_alone(cli, tmp_path):
    run = ["run", "-b", "faulty", "-m", "tiny:draft", "--prompt-tokens", 4, "--samples", 1, "--rounds", 1]
    for lengths, measured in (("2,4", 2), ("2,4,6", 1)):
        ended = cli(*run, "--output-tokens", lengths, "-o", tmp_path / "o", "--interleave", "rounds", "--json")
        assert ended.json["done"] == measured
    found = cli("query", "SELECT count(DISTINCT experiment), count(*) FROM runs", tmp_path / "o", "--json").rows
    assert found == [[1, 3]]
