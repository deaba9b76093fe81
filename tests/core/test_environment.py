"""What a record says of its machine."""

from __future__ import annotations

import os
import platform

from decodebench.core.environment import bandwidth_ladder, capture, cores


def test_the_default_thread_count_lies_within_what_we_may_use():
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


def test_names_are_hidden_on_request():
    hidden = capture(anonymise=True, with_bandwidth=False)
    assert platform.node() not in hidden.hostname
    assert len(hidden.hostname) == 8
    assert capture(anonymise=False, with_bandwidth=False).hostname == platform.node()


def test_what_matters_is_there():
    found = capture(anonymise=True, with_bandwidth=False)
    assert found.memory_bytes > 2**28
    assert found.packages["pydantic"]
    assert found.python == platform.python_version()


def test_the_bandwidth_ladder_is_measured_once_per_host(tmp_path, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_CACHE", str(tmp_path))
    first = bandwidth_ladder()
    sizes = sorted(map(int, first))
    assert sizes[0] <= 2**18 and sizes[-1] >= 2**28
    assert all(1e8 < value < 1e13 for value in first.values())
    assert bandwidth_ladder() == first, "a second measurement would differ"
