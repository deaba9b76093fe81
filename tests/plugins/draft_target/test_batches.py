"""Rows of a batch draft and verify together, and each is what it is alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decodebench import BackendError, Request
from decodebench.core.sdk.batches import AllDue

WAYS = [
    {},
    {"drafter": "prompt-lookup"},
    pytest.param({"adaptive": True}, marks=pytest.mark.nightly),
    pytest.param({"num_draft_tokens": 0}, marks=pytest.mark.nightly),
    pytest.param({"num_candidates": 2}, marks=pytest.mark.nightly),
    pytest.param({"target_backend": "transformers", "draft_backend": "transformers"}, marks=pytest.mark.nightly),
]


def rows_of(steps, count):
    found = {row: [] for row in range(count)}
    for step in steps:
        found[step.row] += step.token_ids
    return list(found.values())


def requests_of(tiny, count=16):
    """Prompts and limits of unlike lengths, greedy and drawn."""
    drawn = [{"temperature": 0.9, "seed": row} if row % 4 == 1 else {} for row in range(count)]
    return [
        Request(tiny.prompts[row % len(tiny.prompts)][: 8 + 3 * row], 4 + row, row=row, ignore_eos=True, **drawn[row])
        for row in range(count)
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_sixteen_rows_are_what_each_is_alone(tiny, way):
    backend = tiny.backend(**way)
    requests = requests_of(tiny)
    alone = [rows_of(backend.generate([replace(one, row=0)]), 1)[0] for one in requests]
    assert rows_of(backend.generate(requests), 16) == alone
    assert rows_of(backend.stream(AllDue(requests), 3), 16) == alone  # rows leave and others join
    broken_off = backend.stream(AllDue(requests), 5)
    next(broken_off), next(broken_off)
    broken_off.close()
    assert rows_of(backend.generate(requests[:3]), 3) == alone[:3]
    backend.close()


def test_what_fails_in_one_forward_ends_all_rows_and_leaves_a_usable_backend(tiny, monkeypatch):
    backend = tiny.backend()
    requests = requests_of(tiny, 4)
    with monkeypatch.context() as patch:
        patch.setattr(backend._target, "feed_together", lambda feeds: (_ for _ in ()).throw(BackendError("no memory")))
        with pytest.raises(BackendError, match="no memory"):
            list(backend.generate(requests))
    assert all(rows_of(backend.generate(requests), 4))
    backend.close()


def test_several_rows_are_refused_where_rows_cannot_share_forwards(tiny):
    backend = tiny.backend(optimistic=True)
    with pytest.raises(BackendError, match="optimistic = false"):
        list(backend.generate(requests_of(tiny, 2)))
    backend.close()
