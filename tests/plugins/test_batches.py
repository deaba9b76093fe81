"""Rows of a batch are what each would be alone, in every engine that takes batches in process."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

from decodebench import ModelCache, Request
from decodebench.core.sdk.batches import AllDue

from .models import TINY, Engine

ENGINES = {  # backend, weights as they are, options, what must be installed
    "transformers": ("transformers.backend:TransformersBackend", "none", {}, "torch"),
    "llama-cpp": (
        "llama_cpp.backend:LlamaCppBackend",
        "f32",
        {"kv_cache_type": "f32", "flash_attention": "off"},
        "llama_cpp",
    ),
    "mlx": ("mlx.backend:MlxBackend", "none", {}, "mlx_lm"),
}


SLOW = [pytest.param(name, marks=pytest.mark.nightly) for name in ("transformers", "mlx")]


@pytest.fixture(scope="module", params=["llama-cpp", *SLOW])
def loaded(request, tmp_path_factory):
    path, plain, options, needed = ENGINES[request.param]
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    module, name = path.split(":")
    kind = getattr(import_module(f"decodebench.plugins.{module}"), name)
    engine = Engine(kind, plain, ModelCache(tmp_path_factory.mktemp("cache")))
    yield engine(TINY, **options)
    engine.close()


def rows_of(steps, count):
    found = {row: [] for row in range(count)}
    for step in steps:
        found[step.row] += step.token_ids
    return list(found.values())


def test_sixteen_rows_are_what_each_is_alone(loaded, prompts):
    """Prompts of unlike lengths, limits of unlike lengths, greedy and drawn, with and without a stop token."""
    stop = loaded.tokens(prompts[3], 12, ignore_eos=True)[5]
    how = [{"temperature": 0.8, "seed": row} if row % 4 == 1 else {"stop_token_ids": (stop,)} for row in range(16)]
    requests = [Request(ids[: 8 + 2 * row], 4 + row, row=row, **how[row]) for row, ids in enumerate(prompts)]
    alone = [loaded.tokens(one.prompt_ids, one.max_new_tokens, **more) for one, more in zip(requests, how, strict=True)]
    assert rows_of(loaded.backend.generate(requests), 16) == alone
    assert (
        loaded.tokens(prompts[0], 12, ignore_eos=True)
        == rows_of(
            loaded.backend.generate([Request(prompts[row], 12, row=row, ignore_eos=True) for row in range(2)]), 2
        )[0]
    )


def test_rows_join_as_others_leave_and_a_closed_stream_leaves_a_usable_backend(loaded, prompts):
    requests = [Request(prompts[row], 3 + row, row=row, ignore_eos=True) for row in range(6)]
    alone = [loaded.tokens(one.prompt_ids, one.max_new_tokens, ignore_eos=True) for one in requests]
    steps = list(loaded.backend.stream(AllDue(requests), 2))
    assert rows_of(steps, 6) == alone
    running, most = {}, 0
    for step in steps:
        running[step.row] = running.get(step.row, requests[step.row].max_new_tokens) - len(step.token_ids)
        most = max(most, sum(left > 0 for left in running.values()))
    assert most <= 2
    broken_off = loaded.backend.stream(AllDue(requests), 4)
    next(broken_off), next(broken_off)
    broken_off.close()
    assert rows_of(loaded.backend.generate(requests), 6) == alone
