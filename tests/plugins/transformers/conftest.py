"""Untrained checkpoints of three families, and the backend loaded with them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import ModelCache, Request, ResolvedModel

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None or find_spec("transformers") is None else []

FAMILIES = ("Qwen3", "Qwen2", "Llama")
SHAPE = dict(
    vocab_size=160,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    initializer_range=0.2,
    bos_token_id=None,
    eos_token_id=2,
    pad_token_id=0,
    tie_word_embeddings=True,
)


def save_checkpoint(folder: Path, family: str, **changes) -> Path:
    import torch
    import transformers

    torch.manual_seed(11)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})
    getattr(transformers, f"{family}ForCausalLM")(config).save_pretrained(folder)
    return folder


class Loaded:
    """A loaded backend and shorthands for what tests ask of it."""

    def __init__(self, path: Path, quantisation: str = "none", **options) -> None:
        from decodebench.plugins.transformers.backend import TransformersBackend

        model = ResolvedModel("test", path, "0" * 64, "AnyForCausalLM")
        chosen = TransformersBackend.Options(**{"n_threads": 1, **options})
        prepared = TransformersBackend.prepare(model, quantisation, "cpu", chosen, ModelCache(path / "cache"))
        self.backend = TransformersBackend()
        self.facts = self.backend.load(prepared, "cpu", chosen)

    def steps(self, prompt, limit: int, **changes):
        request = Request(prompt_ids=tuple(prompt), max_new_tokens=limit, **{"stop_token_ids": (2,), **changes})
        return list(self.backend.generate([request]))

    def tokens(self, prompt, limit: int, **changes) -> list[int]:
        return [token for step in self.steps(prompt, limit, **changes) for token in step.token_ids]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def load():
    made: dict[tuple, Loaded] = {}

    def get(path: Path, quantisation: str = "none", **options) -> Loaded:
        key = (path, quantisation, *sorted(options.items()))
        if key not in made:
            made[key] = Loaded(path, quantisation, **options)
        return made[key]

    return get
