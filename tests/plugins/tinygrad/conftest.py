"""The trained model that ships, untrained ones of three families, and the backend loaded with them, once each."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

import decodebench.plugins.reference.problems as problems
from decodebench import ModelCache, Request

from ..models import LINEAR, LLAMA3, TINY, resolve, save_checkpoint, torch_model

_NEEDED = ("tinygrad", "torch", "transformers")
_WITH_ENGINE = ["test_generate.py", "test_gguf.py", "test_load.py", "test_parity.py", "test_plugin.py"]
collect_ignore_glob = (
    _WITH_ENGINE if any(find_spec(name) is None for name in _NEEDED) or shutil.which("clang") is None else []
)

# Read when tinygrad is imported: compiled kernels are kept from one test run to the next, apart from the user's.
os.environ.setdefault("CACHEDB", str(Path(tempfile.gettempdir()) / f"decodebench-tests-{os.getuid()}" / "kernels.db"))


class Loaded:
    """A loaded backend and shorthands for what tests ask of it."""

    def __init__(self, path: Path, quantisation: str, cache: ModelCache, **options) -> None:
        from decodebench.plugins.tinygrad.backend import TinygradBackend

        chosen = TinygradBackend.Options(**{"n_threads": 1, **options})
        self.prepared = TinygradBackend.prepare(resolve(path), quantisation, "cpu", chosen, cache)
        self.backend = TinygradBackend()
        self.facts = self.backend.load(self.prepared, "cpu", chosen)

    def steps(self, prompt, limit: int, **changes):
        return list(self.backend.generate([Request(tuple(prompt), limit, **changes)]))

    def tokens(self, prompt, limit: int = 16, **changes) -> list[int]:
        steps = self.steps(prompt, limit, **{"ignore_eos": True, **changes})
        return [token for step in steps for token in step.token_ids]

    def logits(self, ids):
        """Return the logits after each of ``ids``, [T, V]."""
        import numpy as np

        return np.concatenate([rows.copy() for rows in self.backend._decoder.logits(ids)])


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory) -> ModelCache:
    return ModelCache(tmp_path_factory.mktemp("tinygrad-cache"))


@pytest.fixture(scope="session")
def load(model_cache):
    made: dict[tuple, Loaded] = {}

    def get(path: Path, quantisation: str = "float32", **options) -> Loaded:
        key = (path, quantisation, *sorted(options.items()))
        if key not in made:
            made[key] = Loaded(path, quantisation, model_cache, **options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def tiny(load) -> Loaded:
    return load(TINY)


@pytest.fixture(scope="session")
def prompts() -> list[tuple[int, ...]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    texts = [problem.prompt for problem in islice(problems.held_out_problems(5), 16)]
    return [tuple(tokenizer.encode(text).ids) for text in texts]


@pytest.fixture(scope="session")
def reference():
    return torch_model(TINY)


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
