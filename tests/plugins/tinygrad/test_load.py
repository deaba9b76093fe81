"""Loading: settings that take effect, memory that is given back, and files that cannot be used."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from decodebench import BackendError, ModelError
from decodebench.core.errors import UsageError

from ..models import TINY


def test_facts_of_the_trained_model(tiny):
    weights = load_file(TINY / "model.safetensors")
    assert tiny.facts.parameters == sum(tensor.numel() for tensor in weights.values())
    assert tiny.facts.weight_bytes == 4 * tiny.facts.parameters
    assert (tiny.facts.context_length, tiny.facts.vocabulary_size) == (2048, 512)
    assert tiny.facts.n_threads == 1
    assert tiny.facts.settings["renderer"] == "CLANGJIT"


# Thread count and cache file are read once in a process, so each of these is one of its own.
_LOAD = """
import json, sys
from pathlib import Path
from decodebench import ModelCache, Request, ResolvedModel
from decodebench.plugins.tinygrad import TinygradBackend
path, options = Path(sys.argv[1]), TinygradBackend.Options(**json.loads(sys.argv[2]))
model = ResolvedModel("m", path, "0" * 64, "Qwen3ForCausalLM")
prepared = TinygradBackend.prepare(model, "float32", "cpu", options, ModelCache(path))
backend = TinygradBackend()
facts = backend.load(prepared, "cpu", options)
settings = {**facts.settings, **backend.warmup(), "n_threads": str(facts.n_threads)}
steps = list(backend.generate([Request(tuple(range(20, 60)), 5, ignore_eos=True)]))
print(json.dumps({"settings": settings, "tokens": [step.token_ids[0] for step in steps]}))
"""


def loaded_apart(path, kernels, **options):
    environment = {**os.environ, **({"CACHEDB": str(kernels)} if kernels else {})}
    command = [sys.executable, "-c", _LOAD, str(path), json.dumps(options)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.nightly
def test_the_kernel_cache_is_cold_once(load, checkpoints, tmp_path):
    path = checkpoints["qwen3"]
    runs = [loaded_apart(path, tmp_path / "kernels.db", n_threads=1) for _ in range(2)]
    assert [run["settings"]["kernel_cache"] for run in runs] == ["cold", "warm"]
    assert runs[0]["tokens"] == runs[1]["tokens"] == load(path).tokens(range(20, 60), 5)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("options", "name", "value"),
    [({"n_threads": 2}, "n_threads", "2"), ({"renderer": "x86", "n_threads": 1}, "renderer", "X86")],
)
def test_options_take_effect(load, checkpoints, options, name, value):
    path = checkpoints["qwen3"]
    run = loaded_apart(path, None, **options)
    assert run["settings"][name] == value
    assert run["tokens"] == load(path).tokens(range(20, 60), 5)


def test_a_second_thread_count_in_one_process_is_refused(tiny, load):
    with pytest.raises(BackendError, match="n_threads=7: tinygrad runs with 1 threads in this process already"):
        load.anew(TINY, "float32", n_threads=7)


def test_an_unknown_renderer_is_named(tiny, load):
    with pytest.raises(BackendError, match="device 'cpu' with renderer 'NOSUCH': RuntimeError: CPU has no renderer"):
        load.anew(TINY, "float32", renderer="nosuch")


def test_an_unknown_device_is_named(tiny):
    options = tiny.backend.Options(n_threads=1)
    with pytest.raises(BackendError, match="tinygrad cannot use device 'nosuch'"):
        tiny.backend.__class__().load(tiny.prepared, "nosuch", options)


def test_a_context_beyond_the_models_is_refused(tiny, load):
    with pytest.raises(UsageError, match="n_ctx=4096 exceeds the model's context length of 2048"):
        load.anew(TINY, "float32", n_ctx=4096)


@pytest.mark.nightly
def test_a_beam_search_finds_kernels_that_compute_the_same(load, checkpoints):
    from tinygrad import helpers

    path = checkpoints["qwen3"]
    try:
        searched = load(path, beam=1, prefill_chunk=4)
        assert searched.tokens(range(20, 60), 5) == load(path).tokens(range(20, 60), 5)
    finally:
        helpers.BEAM.value = 0  # of the process, which other tests share


@pytest.mark.nightly
def test_close_gives_the_memory_back(checkpoints, load):
    from tinygrad import GlobalCounters

    gc.collect()
    before = GlobalCounters.mem_used
    loaded = load.anew(checkpoints["qwen2"], "float32", prefill_chunk=8)
    loaded.tokens(range(20, 40), 4)
    assert GlobalCounters.mem_used - before > loaded.facts.weight_bytes
    loaded.backend.close()
    assert GlobalCounters.mem_used - before < 1000


def broken(tmp_path, load, change, quantisation="float32"):
    """Change a copy of the trained model and return the one line that refuses it."""
    folder = shutil.copytree(TINY, tmp_path / "broken")
    change(folder)
    with pytest.raises(ModelError) as caught:
        load.anew(folder, quantisation)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_truncated_weight_file_is_named(tmp_path, load):
    def cut(folder):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])

    assert "broken/model.safetensors: cut off" in broken(tmp_path, load, cut)


def test_a_missing_weight_file_is_told(tmp_path, load):
    text = broken(tmp_path, load, lambda folder: (folder / "model.safetensors").unlink())
    assert "broken: no *.safetensors" in text


def test_a_missing_tensor_is_named(tmp_path, load):
    def drop(folder):
        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, folder / "model.safetensors")

    assert "tensor 'model.layers.1.mlp.up_proj.weight' is missing" in broken(tmp_path, load, drop)


def configured(**changes):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def test_a_tensor_of_another_shape_is_named(tmp_path, load):
    text = broken(tmp_path, load, configured(vocab_size=513))
    assert "model.safetensors: tensor 'model.embed_tokens.weight' has shape (512, 256)" in text


def test_an_unknown_architecture_is_named(tmp_path, load):
    text = broken(tmp_path, load, configured(architectures=["NoSuchForCausalLM"]))
    assert "config.json: architecture 'NoSuchForCausalLM' is not supported" in text


def test_a_rotary_scaling_that_is_not_computed_is_named(tmp_path, load):
    text = broken(tmp_path, load, configured(rope_scaling={"rope_type": "yarn", "factor": 4.0}))
    assert "config.json: rotary scaling of rope_type = 'yarn' is not supported" in text


def test_rows_that_fill_no_block_are_named(tmp_path, load):
    def narrow(folder):
        weights = load_file(folder / "model.safetensors")
        for layer in range(4):
            name = f"model.layers.{layer}.mlp."
            for part in ("gate_proj", "up_proj"):
                weights[f"{name}{part}.weight"] = weights[f"{name}{part}.weight"][:700].contiguous()
            weights[f"{name}down_proj.weight"] = weights[f"{name}down_proj.weight"][:, :700].contiguous()
        save_file(weights, folder / "model.safetensors")
        configured(intermediate_size=700)(folder)

    text = broken(tmp_path, load, narrow, "nf4")
    assert "tensor 'model.layers.0.mlp.down_proj.weight' has rows of 700 weights; nf4 packs blocks of 64" in text


def test_weights_beyond_half_precision_are_named(tmp_path, load):
    def inflate(folder):
        weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
        weights["model.layers.0.self_attn.o_proj.weight"][3, 3] = 1e6
        save_file(weights, folder / "model.safetensors")

    text = broken(tmp_path, load, inflate, "float16")
    assert "tensor 'model.layers.0.self_attn.o_proj.weight' holds 1e+06, beyond float16" in text
