"""Pickled weights are opened by no backend, and whatever weights there are belong to what a model is."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from decodebench import ModelCache, ModelError
from decodebench.core.sdk.models import resolve
from decodebench.plugins.reference import WEIGHTS_FOLDER


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


@pytest.mark.parametrize("backend", ["transformers", "draft-target", "dflash", "llama-cpp", "tinygrad", "mlc"])
def test_no_backend_opens_them(cli, tmp_path, folder, backend):
    witness = tmp_path / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code(witness)))
    result = cli("run", "-b", backend, "-m", folder, "-o", tmp_path / "out", "--samples", 1, "--rounds", 1)
    assert result.code == 2 and "pytorch_model.bin is pickled" in result.err
    assert "Traceback" not in result.err and not witness.exists()


def test_the_command_in_the_message_converts_them(tmp_path, folder):
    with pytest.raises(ModelError) as refused:
        resolve(str(folder), {}, ModelCache(tmp_path / "cache"))
    command = str(refused.value).splitlines()[1].replace("python -c", f"{sys.executable} -c")
    subprocess.run(command, shell=True, check=True)
    resolve(str(folder), {}, ModelCache(tmp_path / "cache"))
    assert _tensors(folder) == _tensors(WEIGHTS_FOLDER / "target")


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
