"""Rotary scaling of type yarn reaches the engine as transformers computes it, or is refused by its field's name."""

from __future__ import annotations

import numpy as np
import pytest

from decodebench import ModelError

from ..models import torch_logits, torch_model
from .conftest import byte_level_tokenizer, save_checkpoint

PLAIN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
VARIANTS = {
    "attention factor": {"attention_factor": 1.0},
    "bounds": {"beta_fast": 8.0, "beta_slow": 2.0},
    "magnitudes": {"mscale": 1.0, "mscale_all_dim": 0.5},
    "one magnitude": {"mscale": 1.0},
    "all": {"attention_factor": 1.3, "beta_fast": 64, "beta_slow": 0.5, "factor": 2.0},
    "nothing stated": {"attention_factor": None, "beta_fast": None},
}


def checkpoint(folder, **rope):
    shape = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, max_position_embeddings=256)
    return save_checkpoint(folder, "Llama", byte_level_tokenizer("llama3"), rope_parameters=PLAIN | rope, **shape)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_reaches_the_engine(load, tmp_path, name):
    folder = checkpoint(tmp_path / "model", **VARIANTS[name])
    loaded = load.anew(folder, kv_cache_type="f32", flash_attention="off", extra_buffers="off")
    ids = [(7 * i + 3) % 480 for i in range(160)]
    logits = torch_logits(torch_model(folder), ids).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = loaded.backend.score(ids).logprobs[1:]
    loaded.backend.close()
    assert np.abs(np.array(found) - expected[np.arange(159), ids[1:]]).max() < 5e-4


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"truncate": False}, "yarn with truncate = false is not supported"),
        ({"beta_fast": "32"}, r"rope_parameters.beta_fast = '32': expected a positive number"),
        ({"attention_factor": -1}, r"rope_parameters.attention_factor = -1: expected"),
        ({"partial_rotary_factor": 0.5}, r"rope_parameters.partial_rotary_factor = 0.5 is not supported"),
        ({"rope_type": "linear", "factor": "4"}, r"rope_parameters.factor = '4'; expected a number"),
    ],
)
def test_what_the_engine_cannot_compute_is_refused_by_name(load, tmp_path, rope, words):
    import json

    folder = checkpoint(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = PLAIN | rope
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=words):
        load.anew(folder)
