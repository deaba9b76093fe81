"""Checkpoints and loaded networks that the tests of this folder share."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from .checkpoints import save_random_draft, save_target

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None or find_spec("transformers") is None else []


@pytest.fixture(scope="session")
def target_folder(tmp_path_factory):
    return save_target(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="session")
def draft_folder(tmp_path_factory):
    return save_random_draft(tmp_path_factory.mktemp("draft"))
