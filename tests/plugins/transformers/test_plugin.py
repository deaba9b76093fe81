"""What the plugin says of itself, of a model, and of what it cannot use."""

from __future__ import annotations

import gc
import json
import math
import shutil
import subprocess
import sys
import weakref
from importlib.metadata import version

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from decodebench import BackendError, ModelCache, ModelError, Request, ResolvedModel
from decodebench.plugins.transformers.backend import TransformersBackend

from ..models import assert_shares_a_prompt, save_checkpoint

PROMPT = tuple(range(40, 61))


def test_importing_the_plugin_imports_no_engine():
    code = "import sys, decodebench.plugins.transformers; print('torch' in sys.modules, 'transformers' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]


def test_the_probe_tells_both_versions():
    assert TransformersBackend.probe().version == f"{version('transformers')} (torch {version('torch')})"


def test_facts_count_tied_weights_once(load, checkpoints):
    facts = load(checkpoints["Qwen3"]).facts
    weights = load_file(checkpoints["Qwen3"] / "model.safetensors")
    assert facts.parameters == sum(tensor.numel() for tensor in weights.values())
    assert facts.weight_bytes == 4 * facts.parameters
    assert (facts.context_length, facts.vocabulary_size, facts.stop_token_ids) == (1024, 160, (2,))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_halves_the_weights(load, checkpoints, dtype):
    loaded = load(checkpoints["Qwen3"], dtype=dtype)
    assert loaded.facts.weight_bytes == 2 * loaded.facts.parameters
    assert len(loaded.tokens(PROMPT, 4, ignore_eos=True)) == 4


def test_int8_takes_fewer_bytes_and_stays_close(load, checkpoints):
    plain, small = load(checkpoints["Llama"]), load(checkpoints["Llama"], "int8")
    assert small.facts.parameters == plain.facts.parameters
    assert small.facts.weight_bytes < 0.55 * plain.facts.weight_bytes
    sequence = [*PROMPT, *plain.tokens(PROMPT, 12, ignore_eos=True)]
    pairs = zip(plain.backend.score(sequence).logprobs[1:], small.backend.score(sequence).logprobs[1:], strict=True)
    assert max(abs(a - b) for a, b in pairs) < 0.5


def test_scores_are_those_of_the_model_and_agree_with_greedy(load, checkpoints):
    loaded = load(checkpoints["Qwen3"])
    output = loaded.tokens(PROMPT, 12, ignore_eos=True)
    sequence = [*PROMPT, *output]
    scores = loaded.backend.score(sequence, top_k=3)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoints["Qwen3"], dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(torch.tensor([sequence])).logits[0].double().log_softmax(-1)
    assert math.isnan(scores.logprobs[0]) and not scores.is_greedy[0] and scores.top_ids[0] == []
    for at, token in enumerate(sequence[1:], start=1):
        assert scores.logprobs[at] == pytest.approx(float(expected[at - 1, token]), abs=1e-4)
        assert scores.top_ids[at] == expected[at - 1].topk(3).indices.tolist()
        assert scores.top_logprobs[at] == sorted(scores.top_logprobs[at], reverse=True)
    assert all(scores.is_greedy[len(PROMPT) :])
    assert_shares_a_prompt(loaded.backend, PROMPT, output)


def test_compile_without_a_static_cache_is_refused():
    with pytest.raises(ValueError, match="compile=true needs cache=static"):
        TransformersBackend.Options(compile=True)


def test_an_unknown_device_is_named(checkpoints):
    model = ResolvedModel("m", checkpoints["Qwen3"], "0" * 64, "Qwen3ForCausalLM")
    options = TransformersBackend.Options()
    prepared = TransformersBackend.prepare(model, "none", "cpu", options, ModelCache(checkpoints["Qwen3"]))
    with pytest.raises(BackendError, match="device 'cuda:7' is not there; PyTorch sees"):
        TransformersBackend().load(prepared, "cuda:7", options)


def broken(load, checkpoints, tmp_path, change) -> str:
    folder = shutil.copytree(checkpoints["Qwen3"], tmp_path / "broken")
    change(folder)
    with pytest.raises(ModelError) as caught:
        load.anew(folder)
    text = str(caught.value)
    assert str(folder) in text and len(text.splitlines()) <= 2
    return text


def test_missing_weight_files_are_named(load, checkpoints, tmp_path):
    assert "no *.safetensors" in broken(
        load, checkpoints, tmp_path, lambda folder: (folder / "model.safetensors").unlink()
    )


def test_a_truncated_weight_file_is_named(load, checkpoints, tmp_path):
    def cut(folder):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])

    assert "model.safetensors: damaged or cut off" in broken(load, checkpoints, tmp_path, cut)


def test_a_missing_tensor_is_never_filled_with_noise(load, checkpoints, tmp_path):
    def drop(folder):
        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    text = broken(load, checkpoints, tmp_path, drop)
    assert "1 weights are missing, such as 'model.layers.1.mlp.up_proj.weight'" in text


def test_an_unknown_architecture_is_refused(load, checkpoints, tmp_path):
    def rename(folder):
        (folder / "config.json").write_text('{"model_type": "no-such-model", "architectures": ["NoSuch"]}')

    assert "transformers cannot load it" in broken(load, checkpoints, tmp_path, rename)


def bloom(folder):
    config = transformers.BloomConfig(vocab_size=160, hidden_size=64, n_layer=2, n_head=4, eos_token_id=2)
    torch.manual_seed(11)
    transformers.BloomForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_model_without_fused_attention_names_the_option_that_helps(load, tmp_path):
    with pytest.raises(ModelError, match="BloomForCausalLM has no fused attention; use the option attention=eager"):
        load.anew(bloom(tmp_path))


def test_a_model_without_a_context_length_says_what_to_add(load, tmp_path):
    with pytest.raises(ModelError, match="BloomConfig states no context length; .* max_position_embeddings"):
        load.anew(bloom(tmp_path), attention="eager")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 256}))
    loaded = load.anew(tmp_path, attention="eager")
    assert loaded.facts.context_length == 256
    assert len(loaded.tokens(PROMPT, 5, ignore_eos=True)) == 5


def test_a_batch_that_cannot_be_continued_is_refused(load, checkpoints):
    with pytest.raises(BackendError, match="the prompt has no tokens"):
        load(checkpoints["Qwen3"]).backend.generate([Request((), 1)])


def test_a_gguf_file_is_no_folder(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="Hugging Face folder"):
        TransformersBackend.prepare(
            ResolvedModel("m", tmp_path / "model.gguf", "0" * 64), "none", "cpu", TransformersBackend.Options(), None
        )


def test_close_frees_the_model(load, tmp_path):
    loaded = load.anew(save_checkpoint(tmp_path, "Qwen3"), cache="static")
    loaded.tokens(PROMPT, 4)
    weights = weakref.ref(loaded.backend._model.get_input_embeddings().weight)
    loaded.backend.close()
    gc.collect()
    assert weights() is None
