"""Untrained checkpoints of three families, and the backend loaded with them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from decodebench import ModelCache

from ..models import Engine, save_checkpoint

collect_ignore_glob = ["test_*.py"] if find_spec("mlx_lm") is None or find_spec("torch") is None else []

FAMILIES = ("Qwen3", "Qwen2", "Llama")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def load(tmp_path_factory):
    from decodebench.plugins.mlx.backend import MlxBackend

    engine = Engine(MlxBackend, "none", ModelCache(tmp_path_factory.mktemp("cache")))
    yield engine
    engine.close()
