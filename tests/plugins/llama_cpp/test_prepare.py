"""From folders and .gguf files to what the engine opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from decodebench.core.cache import ModelCache
from decodebench.core.errors import ModelError
from decodebench.core.sdk.tokenizer import Codec
from decodebench.plugins.llama_cpp.backend import LlamaCppBackend
from decodebench.plugins.llama_cpp.options import LlamaCppOptions
from decodebench.plugins.reference import WEIGHTS_FOLDER

from ..models import resolve
from .conftest import byte_level_tokenizer, save_checkpoint

PROMPT = tuple(range(40, 80))
OPTIONS = LlamaCppOptions(extra_buffers="off")


def prepare(path, quantisation, cache):
    return LlamaCppBackend.prepare(resolve(path), quantisation, "cpu", OPTIONS, cache)


@pytest.mark.parametrize(
    ("quantisation", "low", "high"),
    [("f16", 16, 16.2), ("bf16", 16, 16.2), ("q8_0", 8.5, 8.7), ("q6_k", 6.5, 6.8), ("q4_0", 4.5, 5.5),
     ("q4_k_m", 4.5, 6), ("q2_k", 2.6, 4.5)],
)  # fmt: skip
def test_quantised_models_load_and_are_measured(load, checkpoints, qwen3, quantisation, low, high):
    loaded = load(checkpoints["qwen3"], quantisation)
    prepared = loaded.prepared
    assert prepared.quantisation == quantisation and prepared.format == "gguf"
    assert low <= prepared.bits_per_weight <= high
    assert prepared.notes == ()
    assert prepared.weight_bytes == loaded.facts.weight_bytes
    assert prepared.weight_bytes * 8 == pytest.approx(prepared.bits_per_weight * loaded.facts.parameters)
    assert loaded.facts.parameters == qwen3.facts.parameters
    assert len(loaded.tokens(PROMPT, 4)) == 4


def test_more_bits_are_closer_to_the_original(load, checkpoints, qwen3):
    tokens = (*PROMPT, *qwen3.tokens(PROMPT, 30, ignore_eos=True))

    def distance(quantisation):
        ours = load(checkpoints["qwen3"], quantisation).backend.score(tokens).logprobs[1:]
        theirs = qwen3.backend.score(tokens).logprobs[1:]
        return sum(abs(a - b) for a, b in zip(ours, theirs, strict=True))

    assert distance("f16") < distance("q8_0") < distance("q4_0") < distance("q2_k")


def test_every_listed_quantisation_can_be_made(checkpoints, cache):
    bits = {
        q.name: prepare(checkpoints["qwen3"], q.name, cache).bits_per_weight
        for q in LlamaCppBackend.quantisations()
        if "safetensors" in q.reads
    }
    assert bits["f32"] == 32
    assert all(a < 10 for name, a in bits.items() if "f" not in name)


def test_fallback_at_width_128_is_noted(load, tmp_path):
    folder = save_checkpoint(
        tmp_path, "Qwen3", byte_level_tokenizer("qwen2"), hidden_size=128, intermediate_size=384, head_dim=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    loaded = load(folder, "q4_k_m")
    (note,) = loaded.prepared.notes
    assert "13 of 15 matrices fell back" in note and "(128, 384)" in note and "256" in note
    assert "q5_0" in note
    assert len(loaded.tokens(PROMPT, 4)) == 4
    assert load(folder, "q8_0").prepared.notes == ()


def test_second_prepare_takes_the_cached_file(checkpoints, tmp_path, monkeypatch):
    cache = ModelCache(tmp_path)
    first = prepare(checkpoints["qwen2"], "q4_0", cache)
    stamp = first.path.stat().st_mtime_ns
    monkeypatch.setattr("decodebench.core.sdk.gguf.conversion.write_gguf", None)
    assert prepare(checkpoints["qwen2"], "q4_0", cache) == first
    assert first.path.stat().st_mtime_ns == stamp


def test_gguf_file_and_folder_with_one_are_taken_as_they_are(load, checkpoints, cache, tmp_path):
    made = prepare(checkpoints["qwen3"], "q4_k_m", cache)
    lone = tmp_path / "mine.gguf"
    shutil.copy(made.path, lone)
    (tmp_path / "README.md").write_text("as published, without safetensors")
    for path in (lone, tmp_path):
        loaded = load(path, "q4_k_m")
        assert loaded.prepared.path == lone
        assert loaded.prepared.bits_per_weight == made.bits_per_weight
        assert set(Codec(path, loaded.backend).stop_ids()) == {0, 2}


def test_quantised_gguf_is_not_quantised_again(checkpoints, cache, tmp_path):
    lone = tmp_path / "mine.gguf"
    shutil.copy(prepare(checkpoints["qwen3"], "q4_0", cache).path, lone)
    with pytest.raises(ModelError, match=r"mine.gguf: its weights are q4_0, not q8_0"):
        prepare(lone, "q8_0", cache)


def test_unquantised_gguf_is_quantised(checkpoints, cache, tmp_path):
    lone = tmp_path / "mine.gguf"
    shutil.copy(prepare(checkpoints["qwen3"], "f16", cache).path, lone)
    prepared = prepare(lone, "q8_0", cache)
    assert prepared.path != lone and 8.5 <= prepared.bits_per_weight < 8.7
    assert prepare(lone, "f16", cache).path == lone


def test_folder_with_two_gguf_files_asks_which(checkpoints, cache, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"2 \.gguf files; name one: a\.gguf, b\.gguf"):
        prepare(tmp_path, "f16", cache)


def test_sharded_checkpoint_was_sharded(checkpoints):
    assert len(list(checkpoints["llama-biased"].glob("model-*.safetensors"))) > 2


def _config(**fields):
    def change(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config.update(fields)
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return change


def _cut(length):
    def change(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:length])

    return change


BROKEN = {
    "architecture": (_config(architectures=["GPT2LMHeadModel"]), r"architecture 'GPT2LMHeadModel' is not supported"),
    "missing field": (_config(hidden_size=None), r"config.json: hidden_size = None; expected int"),
    "wrong type": (_config(hidden_size="big"), r"config.json: hidden_size = 'big'; expected int"),
    "wrong shape": (_config(vocab_size=600), r"embed_tokens.weight' has shape \(512, 256\).*\(600, 256\)"),
    "missing tensor": (_config(num_hidden_layers=3), r"tensor 'model.layers.2.* is missing"),
    "tensor left over": (_config(num_hidden_layers=1), r"tensor 'model.layers.1.* has no place"),
    "small vocabulary": (_config(vocab_size=300), r"token id \d+ lies beyond the model's vocab_size = 300"),
    "rope": (
        _config(rope_parameters={"rope_type": "dynamic", "factor": 2.0}),
        r"rope_parameters = .*known types for qwen3: default, linear, yarn\)",
    ),
    "quantised": (_config(quantization_config={"quant_method": "gptq"}), r"quantization_config = .* not supported"),
    "activation": (_config(hidden_act="gelu"), r"hidden_act = 'gelu' is not supported"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config.json is missing"),
    "bad config": (lambda f: (f / "config.json").write_text("{"), r"config.json: cannot be read as JSON"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"no \*\.safetensors"),
    "empty weights": (_cut(0), r"model.safetensors: cut off: 0 bytes"),
    "cut header": (_cut(100), r"model.safetensors: cut off: 100 bytes"),
    "cut data": (_cut(-1000), r"model.safetensors: cut off: \d+ bytes, tensor '.*' ends at byte \d+"),
    "not safetensors": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"no json!" + bytes(50)),
        r"not a safetensors file",
    ),
    "missing shard": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}'),
        r"names model-1.safetensors, which is missing",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folder_gives_one_clear_error(checkpoints, tmp_path, case):
    change, message = BROKEN[case]
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["qwen3"], folder)
    change(folder)
    cache = ModelCache(tmp_path / "cache")
    with pytest.raises(ModelError, match=message) as caught:
        prepare(folder, "f16", cache)
    assert str(caught.value).count("\n") <= 1
    assert not [p for p in cache.root.glob("*") if p.is_dir()]


def test_weights_beyond_f16_are_refused_by_name(checkpoints, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(checkpoints["qwen3"], folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"'model.layers.0.mlp.up_proj.weight' holds 100000, beyond f16"):
        prepare(folder, "f16", ModelCache(tmp_path / "cache"))


def test_bfloat16_checkpoint_is_converted_exactly(checkpoints, cache, tmp_path):
    import numpy as np
    import torch
    from gguf import GGUFReader, quants
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(checkpoints["qwen3"], folder)
    tensors = {k: v.to(torch.bfloat16) for k, v in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    expected = tensors["model.layers.1.mlp.down_proj.weight"].float().numpy()
    for quantisation in ("bf16", "f32"):
        reader = GGUFReader(prepare(folder, quantisation, cache).path)
        found = next(t for t in reader.tensors if t.name == "blk.1.ffn_down.weight")
        np.testing.assert_array_equal(quants.dequantize(found.data, found.tensor_type).reshape(256, 512), expected)
    assert prepare(folder, "q8_0", cache).bits_per_weight < 9


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 10], ids=["empty", "cut", "other"])
def test_broken_gguf_is_refused(cache, tmp_path, content):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken.gguf: .*GGUF"):
        prepare(path, "f16", cache)


def test_cut_gguf_is_refused(checkpoints, cache, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(prepare(checkpoints["qwen3"], "f16", cache).path.read_bytes()[:-100_000])
    with pytest.raises(ModelError, match=r"cut.gguf: is cut off: \d+ bytes, tensor"):
        prepare(path, "f16", cache)


@pytest.mark.nightly
def test_a_damaged_file_is_made_again_and_answers_alike(cli, tmp_path):
    environment = {"DECODEBENCH_CACHE": str(tmp_path / "own")}
    ask = ("run", "-b", "llama-cpp", "-m", "tiny:target", "-q", "q8_0", "--task", "tiny-gsm", "--samples", 2)
    ask = (*ask, "--rounds", 1, "--warmup", 0, "--max-new-tokens", 16)

    def answers(folder):
        result = cli(*ask, "-o", tmp_path / folder, env=environment)
        assert result.code == 0, result.err
        query = "select text from samples order by sample_id"
        return result.err, cli("query", query, tmp_path / folder, "--json").rows

    _, whole = answers("whole")
    (file,) = (tmp_path / "own").glob("*q8_0*/model.gguf")
    content = file.read_bytes()
    changed = bytearray(content)
    for place in range(len(changed) // 2, len(changed), len(changed) // 400):
        changed[place] ^= 0x10
    file.write_bytes(bytes(changed))
    told, again = answers("again")
    assert told.count("is made again") == 1 and again == whole and file.read_bytes() == content
    assert answers("after")[0].count("is made again") == 0


@pytest.mark.nightly
def test_equal_content_under_two_names_is_stored_once(cli, tmp_path):
    environment = {"DECODEBENCH_CACHE": str(tmp_path / "own")}
    paths = []
    for name in ("one", "other"):
        shutil.copytree(WEIGHTS_FOLDER / "target", tmp_path / name)
        made = cli("prepare", "-b", "llama-cpp", tmp_path / name, "-q", "f16", "--json", env=environment)
        gguf = Path(made.json[0]["path"])
        shutil.copy(gguf, tmp_path / f"{name}.gguf")
        again = cli("prepare", "-b", "llama-cpp", tmp_path / f"{name}.gguf", "-q", "q8_0", "--json", env=environment)
        paths.append((gguf, Path(again.json[0]["path"])))
    assert paths[0] == paths[1]
    assert len(cli("cache", "--json", env=environment).json["entries"]) == 2
