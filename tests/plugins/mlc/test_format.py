"""MLC's own files: group quantisation, the weight files, the configuration of a published model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decodebench import ModelError
from decodebench.plugins.mlc import tensor_cache
from decodebench.plugins.mlc.config import from_mlc, stop_ids
from decodebench.plugins.mlc.groups import quantise
from decodebench.plugins.mlc.quantisations import FORMATS

REAL = Path(__file__).parents[2] / "data" / "mlc"
GROUPED = [name for name, form in FORMATS.items() if form.is_grouped]


def dequantise(words, scales, form):
    """The float32 matrix [N, K] that words and scales stand for."""
    shifts = np.arange(form.per_word, dtype=np.uint32) * np.uint32(form.bits)
    stored = (words[..., None] >> shifts) & np.uint32(2**form.bits - 1)
    steps = stored.reshape(*scales.shape, -1).astype(np.float32) - form.max_int
    return (steps * scales.astype(np.float32)[..., None]).reshape(words.shape[0], -1)


@pytest.mark.parametrize("name", GROUPED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_weight_is_at_most_half_a_step_off(name, data):
    form = FORMATS[name]
    numbers = st.floats(-100, 100, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
    matrix = data.draw(arrays(np.float32, (2, 64), elements=numbers))
    words, scales = quantise(matrix, form)
    assert words.dtype == np.uint32 and words.shape == (2, 64 * form.bits // 32)
    assert scales.dtype == form.scale_dtype and scales.shape == (2, 2)
    step = np.repeat(scales.astype(np.float64), 32, axis=1)
    # a scale that was rounded down cannot reach the group's largest weight
    rounding = form.max_int * step * (2e-3 if form.scale_dtype == "float16" else 1e-6)
    assert (np.abs(dequantise(words, scales, form) - matrix) <= 0.5001 * step + rounding).all()


def test_words_hold_the_first_weight_in_their_low_bits():
    form = FORMATS["q4f32_1"]
    matrix = np.zeros((1, 32), np.float32)
    matrix[0, :3] = [7, -7, 3]
    words, scales = quantise(matrix, form)
    assert scales[0, 0] == 1
    assert [(int(words[0, 0]) >> (4 * i)) & 15 for i in range(8)] == [14, 0, 10, 7, 7, 7, 7, 7]


def test_tensors_come_back_as_they_were_written(tmp_path):
    big = np.arange(10_000_000, dtype=np.float32).reshape(-1, 100)
    tensors = [("a.q_weight", np.arange(12, dtype=np.uint32).reshape(3, 4)), ("b", big), ("c", np.ones(5, np.float16))]
    tensor_cache.write(tmp_path, tensors, parameters=12)
    assert len(list(tmp_path.glob("params_shard_*.bin"))) == 3  # of about 32 MB
    read = dict(tensor_cache.read(tmp_path))
    assert list(read) == ["a.q_weight", "b", "c"]
    for name, array in tensors:
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert tensor_cache.weight_bytes(tmp_path) == sum(array.nbytes for _, array in tensors)


def test_bfloat16_storage_is_read(tmp_path):
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    tensor_cache.write(tmp_path, [("x", (values.view(np.uint32) >> 16).astype(np.uint16))], parameters=3)
    table = json.loads((tmp_path / tensor_cache.TABLE).read_text())
    table["records"][0]["records"][0] |= {"dtype": "float32", "format": "f32-to-bf16"}
    (tmp_path / tensor_cache.TABLE).write_text(json.dumps(table))
    np.testing.assert_array_equal(dict(tensor_cache.read(tmp_path))["x"], values)


@pytest.mark.parametrize("damage", [b"", b"x" * 10])
def test_a_damaged_shard_is_named_with_its_checksum(tmp_path, damage):
    tensor_cache.write(tmp_path, [("x", np.ones(100, np.float32))], parameters=100)
    shard = tmp_path / "params_shard_0.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + damage)
    with pytest.raises(ModelError, match=r"params_shard_0\.bin: damaged or cut off: \d+ bytes with MD5 [0-9a-f]{32}"):
        list(tensor_cache.read(tmp_path))


def test_a_published_model_is_understood():
    model, quantisation = from_mlc(REAL)
    decoder = model.decoder
    assert quantisation == "q4f16_1" and model.family == "llama"
    assert (decoder.layers, decoder.width, decoder.heads.keys, decoder.is_tied) == (16, 2048, 8, True)
    assert model.scaling["rope_type"] == "llama3"
    assert stop_ids(json.loads((REAL / "mlc-chat-config.json").read_text())) == (128001, 128008, 128009)
    table = tensor_cache._table(REAL)
    shapes = {tensor.name: tensor.shape for shard in table.records for tensor in shard.records}
    form = decoder.form
    for name, (n, k) in decoder.matrices().items():
        assert shapes[f"{name}.q_weight"] == (n, k // form.per_word)
        assert shapes[f"{name}.q_scale"] == (n, k // 32)
    assert len(shapes) == 2 * len(decoder.matrices()) + len(decoder.vectors()) - 1  # all but the rotary table
    assert tensor_cache.weight_bytes(REAL) == sum(tensor_cache.sizes(REAL).values()) == table.metadata.ParamBytes


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model_type", "mamba", "model_type = 'mamba' is not supported; known: llama, olmo2, qwen2, qwen3, smollm3"),
        ("quantization", "q3f16_1", "quantization = 'q3f16_1' is not supported"),
        ("model_config", None, "model_config = None; expected an object"),
    ],
)
def test_an_unknown_configuration_names_field_and_value(tmp_path, field, value, words):
    shutil.copytree(REAL, tmp_path / "model")
    path = tmp_path / "model" / "mlc-chat-config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ModelError, match="mlc-chat-config.json: " + words):
        from_mlc(tmp_path / "model")
