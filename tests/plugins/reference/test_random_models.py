"""Untrained models: same bytes every time, sizes as named, and transformers runs them."""

import hashlib
import math
import re

import pytest

from decodebench.core.errors import UsageError
from decodebench.plugins.reference import decodebench_models
from decodebench.plugins.reference.family import MASK_ID
from decodebench.plugins.reference.random_models import RANDOM_MODELS, build
from decodebench.plugins.reference.shapes import EMBEDDING
from examples.tiny_models.dflash_network import draft_block
from examples.tiny_models.evaluate import load_weights

BLOCK_DRAFTS = sorted(name for name in RANDOM_MODELS if name.endswith("-dflash"))


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_building_twice_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        build("random:qwen2-30m", folder)
    assert digests(folders[0]) == digests(folders[1])


@pytest.mark.parametrize("name", sorted(RANDOM_MODELS))
def test_size_is_what_name_or_summary_says(name):
    sizes = RANDOM_MODELS[name].tensors().values()
    parameters = sum(math.prod(size) for size in sizes)
    said = re.search(r"-(\d+)m$", name) or re.search(r"([\d.]+) M parameters", RANDOM_MODELS[name].summary)
    assert parameters == pytest.approx(float(said.group(1)) * 1e6, rel=0.05)
    assert all(size[1] % 256 == 0 for size in sizes if len(size) == 2)  # else k-quants fall back


@pytest.mark.parametrize("name", BLOCK_DRAFTS)
def test_block_draft_fits_its_model_and_is_its_companion(name):
    sources = {source.name: source for source in decodebench_models()}
    assert sources[name.removesuffix("-dflash")].companions["dflash"] == name
    target, draft = RANDOM_MODELS[name.removesuffix("-dflash")].config(), RANDOM_MODELS[name].config()
    for shared in ("hidden_size", "vocab_size", "head_dim", "rope_theta"):
        assert draft[shared] == target[shared]
    taps = draft["dflash_config"]["target_layer_ids"]
    assert taps == sorted(set(taps)) and max(taps) < target["num_hidden_layers"] - 1
    assert (draft["num_target_layers"], draft["num_hidden_layers"]) == (target["num_hidden_layers"], 2)
    assert draft["dflash_config"]["mask_token_id"] == MASK_ID < draft["vocab_size"]
    assert draft["architectures"] == ["DFlashDraftModel"] and draft["block_size"] == 16


def test_block_draft_is_the_same_every_time_and_drafts_blocks(tmp_path):
    torch = pytest.importorskip("torch")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        build(BLOCK_DRAFTS[1], folder)
    assert digests(folders[0]) == digests(folders[1])
    shape, weights = RANDOM_MODELS[BLOCK_DRAFTS[1]].shape, load_weights(folders[0])
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == shape.tensors()
    generator = torch.Generator().manual_seed(0)
    embedding = {EMBEDDING: torch.randn(shape.vocab, shape.hidden, generator=generator)}
    features = torch.randn(1, 5, len(shape.taps) * shape.hidden, generator=generator)
    guesses = draft_block(weights, shape, embedding, 7, features, shape.block_size)
    assert len(guesses) == 15 and all(0 <= guess < shape.vocab for guess in guesses)


@pytest.mark.parametrize("name", ["random:qwen3-30m", "random:qwen2-30m", "random:llama-30m"])
def test_transformers_finds_exactly_its_weights(name, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    build(name, tmp_path)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    with torch.inference_mode():
        logits = model(torch.arange(8)[None]).logits
    assert logits.shape == (1, 8, 8192)
    assert logits.isfinite().all()


def test_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="random:qwen3-30m"):
        build("random:qwen3-31m", tmp_path)
