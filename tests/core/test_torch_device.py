"""What is set up on a device before anything is decoded there, and how weights come to it."""

from __future__ import annotations

import json

import pytest

from decodebench.core.sdk.checkpoint import Checkpoint
from decodebench.core.sdk.torch_device import plan_no_attention

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("device", "may_plan"), [("cpu", True), ("cuda:0", False)])
def test_cudnn_is_kept_out_of_attention_on_a_gpu(device, may_plan):
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        plan_no_attention(device)
        assert torch.backends.cuda.cudnn_sdp_enabled() == may_plan
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("wanted", ["float64", "float32", "bfloat16"])
def test_weights_are_those_of_the_file_and_no_part_of_it(tmp_path, stored, wanted):
    from safetensors.torch import save_file

    from decodebench.core.sdk.torch_layers.weights import Weights

    numbers = torch.linspace(-3, 3, 35).reshape(5, 7).to(getattr(torch, stored))
    save_file({"x": numbers}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({}))
    checkpoint = Checkpoint(tmp_path)
    read = Weights(checkpoint, getattr(torch, wanted), "cpu").read("x", (5, 7))
    assert read.dtype == getattr(torch, wanted)
    assert torch.equal(read, numbers.to(read.dtype))
    assert torch.equal(torch.from_numpy(checkpoint.tensors["x"].read()), numbers.float())
    file = (tmp_path / "model.safetensors").read_bytes()
    read.zero_()
    assert (tmp_path / "model.safetensors").read_bytes() == file
    assert torch.equal(Weights(checkpoint, read.dtype, "cpu").read("x", (5, 7)), numbers.to(read.dtype))
