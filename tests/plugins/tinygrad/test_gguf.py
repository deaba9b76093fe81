"""GGUF files: the same weights through tinygrad's loader, and files that it cannot use."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from decodebench import BackendError, Generated, ModelError, Request
from decodebench.core.sdk.tokenizer import Codec
from decodebench.plugins.tinygrad.backend import TinygradBackend

from ..models import TINY, resolve, save_checkpoint

pytestmark = pytest.mark.skipif(
    find_spec("gguf") is None or find_spec("llama_cpp") is None, reason="needs llama-cpp-python and gguf"
)


@pytest.fixture(scope="module", autouse=True)
def null_files_closed():
    """llama-cpp-python, which quantises, leaves two handles of /dev/null open, which is a warning at exit."""
    yield
    from llama_cpp import _utils

    _utils.outnull_file.close()
    _utils.errnull_file.close()


@pytest.fixture(scope="module")
def q8_0(load):
    return load(TINY, "q8_0")


@pytest.fixture(scope="module")
def file(model_cache):
    """The converted file, which no engine has opened yet."""
    options = TinygradBackend.Options()
    return TinygradBackend.prepare(resolve(TINY), "q8_0", "cpu", options, model_cache).path


@pytest.fixture(scope="module")
def bare(q8_0, load):
    """The converted file under its own name, as a user would point to it."""
    return load(q8_0.prepared.path, "gguf")


@pytest.mark.nightly
def test_q8_0_answers_mostly_as_float32_does(q8_0, tiny, prompts):
    pairs = [
        pair for prompt in prompts[:6] for pair in zip(q8_0.tokens(prompt, 12), tiny.tokens(prompt, 12), strict=True)
    ]
    assert sum(ours == plain for ours, plain in pairs) > 0.8 * len(pairs)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["q8_0", "q4_k_m"])
def test_logits_are_those_of_the_unpacked_file(load, prompts, name):
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    from ..models import torch_logits, torch_model

    loaded = load(TINY, name)
    tensors = {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(loaded.prepared.path).tensors}
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
    names |= {"attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj"}
    names |= {"ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    model = torch_model(TINY)
    replaced = {"token_embd.weight": "model.embed_tokens.weight"}
    replaced |= {f"blk.{n}.{k}.weight": f"model.layers.{n}.{v}.weight" for n in range(4) for k, v in names.items()}
    with torch.no_grad():
        for stored, parameter in replaced.items():
            model.get_parameter(parameter).copy_(torch.from_numpy(np.array(tensors[stored])))
    ids = prompts[0][:40]
    theirs = torch_logits(model, ids)
    np.testing.assert_allclose(loaded.logits(ids), theirs, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.nightly
def test_weight_bytes_are_those_of_the_file(q8_0, tiny):
    assert q8_0.facts.parameters == tiny.facts.parameters
    assert q8_0.facts.weight_bytes == q8_0.prepared.weight_bytes
    assert 8 * q8_0.facts.weight_bytes / q8_0.facts.parameters == pytest.approx(8.5, rel=0.01)
    assert q8_0.facts.settings["gguf_weights"] == "as in the file, unpacked in every step"
    assert q8_0.steps(range(20, 40), 2)[1].bytes_read < 1.15 * q8_0.facts.weight_bytes


@pytest.mark.nightly
def test_a_bare_file_is_the_same_model(bare, q8_0, prompts):
    assert bare.prepared.path == q8_0.prepared.path
    assert bare.tokens(prompts[0], 10) == q8_0.tokens(prompts[0], 10)
    assert Codec(bare.prepared.path, bare.backend).stop_ids() == Codec(TINY, None).stop_ids()
    assert bare.facts.weight_bytes == q8_0.facts.weight_bytes


@pytest.mark.nightly
def test_a_bare_file_brings_its_tokenizer(bare):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    text = "Question: Tom has 12 apples and buys 7 more. How many apples are there?\nAnswer:"
    ids = bare.backend.encode(text)
    assert ids == tokenizer.encode(text).ids
    assert bare.backend.decode(ids) == text
    request, steps = Request(tuple(ids), 4), bare.steps(ids, 4)
    tokens = [token for step in steps for token in step.token_ids]
    assert bare.backend.classic_log([Generated(1, request, steps, 1.0)]).endswith(f"\n{bare.backend.decode(tokens)}\n")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["llama3", pytest.param("qwen2-linear", marks=pytest.mark.nightly)])
def test_rotary_scaling_inside_a_file_is_applied(tmp_path, load, checkpoints, name):
    from decodebench.core.sdk.checkpoint import Checkpoint

    path = write_gguf(checkpoints[name], tmp_path / f"{name}.gguf", Checkpoint(checkpoints[name]))
    ids = tuple(range(30, 110))
    np.testing.assert_allclose(load(path, "gguf").logits(ids), load(checkpoints[name]).logits(ids), atol=2e-3)


def write_gguf(folder, path, checkpoint):
    """Convert a checkpoint, with the trained model's tokenizer cut to its vocabulary."""
    import json
    import shutil

    from decodebench.core.sdk.gguf import conversion

    tokenizer = json.loads((TINY / "tokenizer.json").read_text())
    shutil.copytree(folder, path.with_suffix(""))
    vocabulary = {token: i for token, i in tokenizer["model"]["vocab"].items() if i < checkpoint.config["vocab_size"]}
    tokenizer["model"]["vocab"] = vocabulary
    tokenizer["model"]["merges"] = []
    tokenizer["added_tokens"] = []
    (path.with_suffix("") / "tokenizer.json").write_text(json.dumps(tokenizer))
    conversion.write_gguf(type(checkpoint)(path.with_suffix("")), path, "f32", "test")
    return path


def refused(path, load, quantisation="gguf") -> str:
    with pytest.raises(ModelError) as caught:
        load.anew(path, quantisation)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def copied(file, path, change):
    """Copy the file with some of its bytes changed."""
    content = bytearray(file.read_bytes())
    path.write_bytes(change(content))
    return path


@pytest.mark.parametrize(("keep", "words"), [(3, "GGUF file"), (20, "cut off"), (3000, "cut off"), (-5000, "cut off")])
def test_a_cut_file_is_named(file, tmp_path, load, keep, words):
    path = copied(file, tmp_path / "cut.gguf", lambda content: content[:keep])
    text = refused(path, load)
    assert "cut.gguf: " in text and words in text


def test_an_unsupported_architecture_is_named(file, tmp_path, load):
    path = copied(file, tmp_path / "other.gguf", lambda content: content.replace(b"qwen3", b"mamba"))
    text = refused(path, load)
    assert "other.gguf: general.architecture = 'mamba' is not supported with tinygrad; known: llama, qwen2" in text


def test_tensors_that_would_be_left_out_are_named(file, tmp_path, load):
    path = copied(file, tmp_path / "extra.gguf", lambda content: content.replace(b"blk.3.ffn_norm", b"blk.3.xxx_norm"))
    text = refused(path, load)
    assert "extra.gguf: tinygrad" in text and "ffn_norm" in text


def test_a_file_is_no_folder(file, load):
    text = refused(file, load, "float32")
    assert "Hugging Face folder" in text and "run with quantisation 'gguf'" in text


def test_a_folder_is_no_file(load):
    assert "quantisation 'gguf' needs a .gguf file, and there is none" in refused(TINY, load)


def test_without_the_converter_the_command_that_installs_it_is_told(load, monkeypatch):
    from decodebench.plugins.tinygrad import backend

    monkeypatch.setattr(backend, "find_spec", lambda _: None)
    text = refused(TINY, load, "q4_0")
    assert "'q4_0' is made by llama.cpp" in text and 'pip install "decodebench[llama-cpp]"' in text


@pytest.mark.nightly
def test_a_model_without_any_tokenizer_is_told(tmp_path, load):
    loaded = load(save_checkpoint(tmp_path / "m", "Qwen3", head_dim=32, num_hidden_layers=1))
    with pytest.raises(BackendError, match="has no tokenizer.json, and only GGUF files hold a tokenizer"):
        loaded.backend.encode("text")
