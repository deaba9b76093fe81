"""Pickled weights are opened by no backend, and whatever weights there are belong to what a model is."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from decodebench import ModelCache, ModelError
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.sources.pickled_weights import unpickled
from decodebench.plugins.reference import WEIGHTS_FOLDER

from ..at_night import at_night


class Code:
    """Runs when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return Path.touch, (self.witness,)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint in the older format, with the tensors of a real one."""
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "an older model"
    shutil.copytree(WEIGHTS_FOLDER / "target", folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize(
    "backend",
    at_night(["transformers", "draft-target", "dflash", "llama-cpp", "tinygrad", "mlc"], but=["llama-cpp"]),
)
def test_no_backend_opens_them(cli, tmp_path, folder, backend):
    witness = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code(witness)))
    result = cli("run", "-b", backend, "-m", folder, "-o", tmp_path / "out", "--samples", 1, "--rounds", 1)
    assert result.code == 2 and "pytorch_model.bin is pickled" in result.err
    assert "Traceback" not in result.err and not witness.exists()


def test_they_are_rewritten_once_whatever_the_folder_is_called(tmp_path, folder):
    cache = ModelCache(tmp_path / "cache")
    model = resolve(str(folder), {}, cache)
    rewritten = unpickled(model, cache)
    assert (model.container, rewritten.container, rewritten.content_hash) == (
        "pickle",
        "safetensors",
        model.content_hash,
    )
    assert _tensors(rewritten.path) == _tensors(WEIGHTS_FOLDER / "target")
    assert (rewritten.path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    other = shutil.copytree(folder, tmp_path / "another name")
    assert unpickled(resolve(str(other), {}, cache), cache).path == rewritten.path


def test_another_pickle_is_refused_where_it_lies(tmp_path, folder):
    (folder / "pytorch_model.bin").rename(folder / "weights.pt")
    with pytest.raises(ModelError, match=r"weights\.pt is pickled, .* only pytorch_model\*\.bin"):
        resolve(str(folder), {}, ModelCache(tmp_path / "cache"))


def _tensors(folder):
    from safetensors.numpy import load_file

    return {name: tensor.tolist() for name, tensor in load_file(folder / "model.safetensors").items()}


@pytest.mark.parametrize("name", ["pytorch_model-00002-of-00002.bin", "params_shard_0.bin"])
def test_another_content_of_the_weights_is_another_model(tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS_FOLDER / "target", folder)
    hashes = set()
    for content in (b"one", b"two"):
        (folder / name).write_bytes(content)
        hashes.add(resolve(str(folder), {}, ModelCache(tmp_path / "cache")).content_hash)
    assert len(hashes) == 2
