"""Untrained models: same bytes every time, sizes as named, and transformers runs them."""

import hashlib

import pytest

from decodebench.core.errors import UsageError
from decodebench.plugins.reference.random_models import RANDOM_MODELS, build


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_building_twice_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        build("random:qwen2-30m", folder)
    assert digests(folders[0]) == digests(folders[1])


@pytest.mark.parametrize("name", sorted(RANDOM_MODELS))
def test_size_is_what_the_name_says(name):
    sizes = RANDOM_MODELS[name].tensors().values()
    parameters = sum(size[0] * (size[1] if len(size) == 2 else 1) for size in sizes)
    named = float(name.rsplit("-", 1)[1].removesuffix("m")) * 1e6
    assert parameters == pytest.approx(named, rel=0.05)
    assert all(size[1] % 256 == 0 for size in sizes if len(size) == 2)  # else k-quants fall back


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
