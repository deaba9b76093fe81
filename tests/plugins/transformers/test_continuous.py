"""Rows that join and leave a batch get the tokens that they get alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from decodebench import Request
from decodebench.core.contract.preflight import PlannedCell
from decodebench.core.measure.streams.loop import measure_stream
from decodebench.core.measure.streams.source import Load
from decodebench.core.measure.timed_loop import measure
from decodebench.core.records.workload import Workload
from decodebench.core.sdk.tokenizer import Codec

from ..models import TINY, resolve, save_checkpoint


@pytest.fixture(scope="module")
def sliding(tmp_path_factory):
    """A model whose layers see few positions back, so that its rows cannot share a padded cache."""
    return save_checkpoint(
        tmp_path_factory.mktemp("sliding"), "Mistral", sliding_window=16, max_position_embeddings=1024
    )


def requests_of(facts, count=9, **changes):
    chooser = random.Random(1)
    size = min(400, facts.vocabulary_size)
    prompts = [tuple(chooser.randrange(size) for _ in range(chooser.randrange(3, 50))) for _ in range(count)]
    return [Request(prompt, chooser.randrange(4, 24), row=row, **changes) for row, prompt in enumerate(prompts)]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["tiny", pytest.param("sliding", marks=pytest.mark.nightly)])
def test_rows_get_the_tokens_that_they_get_alone(load, name, request):
    loaded = load(TINY if name == "tiny" else request.getfixturevalue("sliding"))
    backend, facts, codec = loaded.backend, loaded.facts, Codec(TINY, None)
    requests = requests_of(facts, stop_token_ids=facts.stop_token_ids)
    alone = [measure(backend, [replace(one, row=0)]).rows[0].ids for one in requests]
    assert [row.ids for row in measure(backend, requests).rows] == alone
    for load_of in (Load(3), Load(None, [0] * 4 + [10**7] * 5), Load(2, None, [None, 0, 1] * 3)):
        if load_of.after:
            load_of = replace(load_of, after=[None if at % 3 == 0 else at - 1 for at in range(9)])
        answered = measure_stream(backend, requests, load_of, codec)
        assert [one.row.ids for one in answered.asked] == alone
        assert all(one.due <= one.sent < one.end for one in answered.asked)
    sampled = [replace(one, temperature=0.9, top_k=20, seed=one.row) for one in requests]
    together = measure_stream(backend, sampled, Load(4), codec)
    assert [one.row.ids for one in together.asked] == [
        measure(backend, [replace(one, row=0)]).rows[0].ids for one in sampled
    ]


def test_a_static_cache_takes_one_row(load):
    kind = type(load(TINY).backend)
    for workload in (Workload(batch_size=2), Workload(concurrency=1)):
        cell = PlannedCell(resolve(TINY), "none", "cpu", kind.Options(cache="static"), workload)
        assert "cache" in kind.preflight(cell).errors[0]
        assert kind.preflight(replace(cell, options=kind.Options())).errors == ()
