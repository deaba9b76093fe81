"""The trained model that ships, untrained ones of three families, and the backend loaded with them, once each."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import ModelCache

from ..models import LINEAR, LLAMA3, TINY, Engine, Loaded, save_checkpoint

_NEEDED = ("tinygrad", "torch", "transformers")
_WITH_ENGINE = ["test_generate.py", "test_gguf.py", "test_load.py", "test_parity.py", "test_plugin.py"]
collect_ignore_glob = (
    _WITH_ENGINE if any(find_spec(name) is None for name in _NEEDED) or shutil.which("clang") is None else []
)

# Read when tinygrad is imported: compiled kernels are kept from one test run to the next, apart from the user's.
os.environ.setdefault("CACHEDB", str(Path(tempfile.gettempdir()) / f"decodebench-tests-{os.getuid()}" / "kernels.db"))


class WithLogits(Loaded):
    def logits(self, ids):
        """Return the logits after each of ``ids``, [T, V]."""
        import numpy as np

        decoder = self.backend._decoder
        first = decoder.prefill(ids[:1], len(ids)).copy()
        return np.concatenate([first, *(rows.copy() for rows in decoder.behind(ids[1:]))])


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory) -> ModelCache:
    return ModelCache(tmp_path_factory.mktemp("tinygrad-cache"))


@pytest.fixture(scope="session")
def load(model_cache):
    from decodebench.plugins.tinygrad.backend import TinygradBackend

    engine = Engine(TinygradBackend, "float32", model_cache, WithLogits)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def tiny(load) -> Loaded:
    return load(TINY)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        "qwen3": save_checkpoint(root / "qwen3", "Qwen3", head_dim=32, tie_word_embeddings=True),
        "qwen2": save_checkpoint(root / "qwen2", "Qwen2", tie_word_embeddings=False),
        "qwen2-linear": save_checkpoint(root / "qwen2-linear", "Qwen2", rope_parameters=LINEAR),
        "llama3": save_checkpoint(root / "llama3", "Llama", tie_word_embeddings=False, rope_parameters=LLAMA3),
        "llama-biased": save_checkpoint(root / "llama-biased", "Llama", attention_bias=True, mlp_bias=True),
    }
