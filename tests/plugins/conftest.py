"""What the tests of several backends share: the trained model in transformers, and problems for it."""

from __future__ import annotations

import pytest

from .models import TINY, problem_ids, torch_model


@pytest.fixture(scope="session")
def reference():
    return torch_model(TINY)


@pytest.fixture(scope="session")
def prompts() -> list[tuple[int, ...]]:
    return problem_ids(16)
