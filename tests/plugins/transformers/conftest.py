"""Untrained checkpoints of three families, and the backend loaded with them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from ..models import Engine, save_checkpoint

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None or find_spec("transformers") is None else []

FAMILIES = ("Qwen3", "Qwen2", "Llama")
SHAPE = {"max_position_embeddings": 1024, "tie_word_embeddings": True}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(root / family, family, **SHAPE) for family in FAMILIES}


@pytest.fixture(scope="session")
def load():
    from decodebench.plugins.transformers.backend import TransformersBackend

    engine = Engine(TransformersBackend, "none")
    yield engine
    engine.close()
