"""The trained model that ships and untrained ones of three families, and the backend loaded with them, once each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import ModelCache

from ..models import LLAMA3, TINY, Engine, Loaded, save_checkpoint

_NEEDED = ("tvm", "torch", "transformers")
_WITH_ENGINE = ["test_parity.py", "test_generate.py", "test_prepare.py"]
collect_ignore_glob = _WITH_ENGINE if any(find_spec(name) is None for name in _NEEDED) else []


GRANITE = dict(embedding_multiplier=6.0, attention_multiplier=0.1, residual_multiplier=0.4, logits_scaling=2.0)


class WithLogits(Loaded):
    def logits(self, ids):
        """Return the logits after each of ``ids``, [T, V]."""
        import numpy as np

        engine = self.backend._engine
        engine.begin(len(ids))
        try:
            chunks = range(0, len(ids), engine.prefill_chunk)
            return np.concatenate([engine.all_logits(ids[at : at + engine.prefill_chunk]) for at in chunks])
        finally:
            engine.end()


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory) -> ModelCache:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("mlc-cache")
        patch.setenv("DECODEBENCH_CACHE", str(root))  # `load` looks the compiled library up there
        yield ModelCache(root)


@pytest.fixture(scope="session")
def load(model_cache):
    from decodebench.plugins.mlc.backend import MlcBackend

    engine = Engine(MlcBackend, "q0f32", model_cache, WithLogits)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def tiny(load) -> Loaded:
    return load(TINY)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        "qwen3": save_checkpoint(root / "qwen3", "Qwen3", head_dim=48, tie_word_embeddings=True),
        "qwen2": save_checkpoint(root / "qwen2", "Qwen2", tie_word_embeddings=False),
        "llama3": save_checkpoint(root / "llama3", "Llama", tie_word_embeddings=False, rope_parameters=LLAMA3),
        "phi3": save_checkpoint(root / "phi3", "Phi3"),
        "olmo2": save_checkpoint(root / "olmo2", "Olmo2"),
        "smollm3": save_checkpoint(
            root / "smollm3", "SmolLM3", tie_word_embeddings=True, no_rope_layers=[1, 0], no_rope_layer_interval=2
        ),
        "granite": save_checkpoint(root / "granite", "Granite", tie_word_embeddings=True, **GRANITE),
        "odd-vocabulary": save_checkpoint(root / "odd", "Qwen3", head_dim=32, vocab_size=163, tie_word_embeddings=True),
    }
