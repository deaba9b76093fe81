"""What a record says of its machine."""

from __future__ import annotations

import os
import platform

from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.cores import cores


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
