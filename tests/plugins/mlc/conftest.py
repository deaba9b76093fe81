"""The trained model that ships and untrained ones of three families, and the backend loaded with them, once each."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from decodebench import ModelCache, Request

from ..models import LLAMA3, TINY, resolve, save_checkpoint, torch_model

_NEEDED = ("tvm", "torch", "transformers")
_WITH_ENGINE = ["test_parity.py", "test_generate.py", "test_prepare.py"]
collect_ignore_glob = _WITH_ENGINE if any(find_spec(name) is None for name in _NEEDED) else []


class Loaded:
    """A loaded backend and shorthands for what tests ask of it."""

    def __init__(self, path: Path, quantisation: str, cache: ModelCache, **options) -> None:
        from decodebench.plugins.mlc.backend import MlcBackend

        chosen = MlcBackend.Options(**{"n_threads": 1, **options})
        self.prepared = MlcBackend.prepare(resolve(path), quantisation, "cpu", chosen, cache)
        self.backend = MlcBackend()
        self.facts = self.backend.load(self.prepared, "cpu", chosen)

    def steps(self, prompt, limit: int, **changes):
        return list(self.backend.generate([Request(tuple(prompt), limit, **changes)]))

    def tokens(self, prompt, limit: int = 16, **changes) -> list[int]:
        steps = self.steps(prompt, limit, **{"ignore_eos": True, **changes})
        return [token for step in steps for token in step.token_ids]

    def logits(self, ids):
        """Return the logits after each of ``ids``, [T, V]."""
        import numpy as np

        return np.concatenate([rows.copy() for rows in self.backend._engine.logits(ids)])


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory) -> ModelCache:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("mlc-cache")
        patch.setenv("DECODEBENCH_CACHE", str(root))  # `load` looks the compiled library up there
        yield ModelCache(root)


@pytest.fixture(scope="session")
def load(model_cache):
    made: dict[tuple, Loaded] = {}

    def get(path: Path, quantisation: str = "q0f32", **options) -> Loaded:
        key = (path, quantisation, *sorted(options.items()))
        if key not in made:
            made[key] = Loaded(path, quantisation, model_cache, **options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def tiny(load) -> Loaded:
    return load(TINY)


@pytest.fixture(scope="session")
def reference():
    return torch_model(TINY)


@pytest.fixture(scope="session")
def prompts() -> list[tuple[int, ...]]:
    from tokenizers import Tokenizer

    import decodebench.plugins.reference.problems as problems

    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    texts = [problem.prompt for problem in islice(problems.held_out_problems(5), 16)]
    return [tuple(tokenizer.encode(text).ids) for text in texts]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        "qwen3": save_checkpoint(root / "qwen3", "Qwen3", head_dim=48, tie_word_embeddings=True),
        "qwen2": save_checkpoint(root / "qwen2", "Qwen2", tie_word_embeddings=False),
        "llama3": save_checkpoint(root / "llama3", "Llama", tie_word_embeddings=False, rope_parameters=LLAMA3),
        "odd-vocabulary": save_checkpoint(root / "odd", "Qwen3", head_dim=32, vocab_size=163, tie_word_embeddings=True),
    }
