"""From a checkpoint to a library and weight files: what is shared, what is refused."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version

import pytest

from decodebench import BackendError, ModelError
from decodebench.core.api.experiment import planned
from decodebench.plugins.mlc import stock
from decodebench.plugins.mlc.backend import MlcBackend
from decodebench.plugins.mlc.stock import link_for_mlc

from ...refusals import refused
from ..models import LINEAR, LLAMA3, TINY, resolve, save_checkpoint


def prepare(path, cache, quantisation="q0f32", device="cpu"):
    return MlcBackend.prepare(resolve(path), quantisation, device, MlcBackend.Options(n_threads=1), cache)


@pytest.mark.nightly
def test_models_of_one_shape_share_a_library(load, checkpoints, tmp_path, model_cache):
    load(checkpoints["qwen3"])
    libraries = set(model_cache.root.glob("mlc-lib-*"))
    other = save_checkpoint(tmp_path / "other", "Qwen3", head_dim=48, tie_word_embeddings=True, initializer_range=0.1)
    prepared = prepare(other, model_cache)
    assert prepared.path != load(checkpoints["qwen3"]).prepared.path
    assert set(model_cache.root.glob("mlc-lib-*")) == libraries


@pytest.mark.nightly
def test_a_folder_in_mlc_format_is_a_model(load, tiny, prompts, cli, tmp_path):
    folder = tmp_path / "tiny-q4"
    shutil.copytree(load(TINY, "q4f16_1").prepared.path, folder)
    again = load(folder, "q4f16_1")
    assert again.tokens(prompts[0], 20) == load(TINY, "q4f16_1").tokens(prompts[0], 20)
    assert again.facts.stop_token_ids == (462,)
    small = ("--task", "tiny-gsm", "--samples", 2, "--rounds", 1, "-o", tmp_path)
    ended = cli("run", "-b", "mlc", "-m", folder, "-q", "q4f16_1", *small)
    assert ended.code == 0, ended.err
    with pytest.raises(ModelError, match="its weights are q4f16_1, not q0f32: ask for q4f16_1"):
        prepare(folder, None)


def test_a_cut_safetensors_file_is_named(tmp_path, model_cache):
    shutil.copytree(TINY, tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors: cut off: \d+ bytes"):
        prepare(tmp_path / "cut", model_cache)
    assert not list(model_cache.root.glob("mlc-cut-*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "architecture 'MambaForCausalLM' is not supported"),
        ({"hidden_size": 250}, "hidden_size = 250 is not supported: this format needs a multiple of 16"),
        ({"rope_parameters": "linear"}, "rope_parameters = 'linear'; expected dict"),
        ({"head_dim": 40}, "head_dim = 40 is not supported: it must be a multiple of 16"),
    ],
)
def test_what_cannot_be_mapped_is_refused(tmp_path, model_cache, changes, words):
    shutil.copytree(TINY, tmp_path / "other")
    path = tmp_path / "other" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=words):
        prepare(tmp_path / "other", model_cache)


def test_a_missing_tensor_is_named(tmp_path, model_cache):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(TINY, tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"tensor 'model\.layers\.2\.mlp\.up_proj\.weight' is missing"):
        prepare(tmp_path / "other", model_cache)


def test_another_device_is_refused(model_cache):
    with pytest.raises(BackendError, match="device 'cuda:0'"):
        prepare(TINY, model_cache, device="cuda:0")


def test_mlc_llm_is_asked_for_by_name_and_told_how_to_get(model_cache):
    from importlib.util import find_spec

    if find_spec("mlc_llm") is not None:
        pytest.skip("MLC-LLM is installed here")
    options = MlcBackend.Options(engine="mlc_llm")
    with pytest.raises(
        BackendError, match=r"engine=mlc_llm needs MLC-LLM.*pip install --pre -U -f https://mlc\.ai/wheels"
    ):
        MlcBackend.prepare(resolve(TINY), "q4f16_1", "cpu", options, model_cache)
    assert MlcBackend.devices() == ["cpu"]
    assert MlcBackend.Options().engine == "auto" and "own cpu schedule" in MlcBackend.probe().version


def test_mlc_llm_itself_scores_nothing_and_says_so_beforehand(cells_of_engine):
    for engine, lacks in (("mlc_llm", {"score", "score-top-k", "depth"}), ("tvm", set())):
        (cell,) = cells_of_engine(engine)
        assert cell.lacks == lacks and cell.supports == MlcBackend.supports - lacks
    with refused("not-supported", "'tiny-choice'"):
        cells_of_engine("mlc_llm", task="tiny-choice")


@pytest.fixture
def cells_of_engine():
    def expanded(engine, **workload):
        settings = {"backends": "mlc", "model": "tiny:target", "options": {"engine": engine}}
        return planned(None, {**settings, "task": "tiny-gsm", **workload}).matrix.cells

    return expanded


def test_mlc_llm_is_recorded_with_its_tvm():
    assert stock.version().startswith("mlc_llm ") and f"(tvm {version('apache-tvm')})" in stock.version()


def test_a_tvm_without_llvm_is_told(monkeypatch):
    import tvm

    from decodebench.plugins.mlc.relax import compiler

    found = tvm.get_global_func
    monkeypatch.setattr(tvm, "get_global_func", lambda name, **kw: None if "llvm" in name else found(name, **kw))
    compiler._target.cache_clear()
    with pytest.raises(BackendError, match="built without LLVM"):
        compiler._target()
    compiler._target.cache_clear()


def test_mlc_llm_gets_rotary_parameters_where_it_reads_them(tmp_path):
    source = save_checkpoint(tmp_path / "llama", "Llama", rope_parameters=LLAMA3 | {"rope_theta": 500000.0})
    (tmp_path / "links").mkdir()
    config = json.loads(link_for_mlc(source, tmp_path / "links").read_text())
    assert config["rope_theta"] == 500000.0 and "rope_parameters" not in config
    assert config["rope_scaling"]["rope_type"] == "llama3" and config["rope_scaling"]["factor"] == LLAMA3["factor"]
    assert (tmp_path / "links" / "model.safetensors").resolve() == (source / "model.safetensors").resolve()
    qwen = save_checkpoint(tmp_path / "qwen", "Qwen3", rope_parameters=LINEAR)
    with pytest.raises(ModelError, match="rope_parameters of type 'linear' is not supported: MLC-LLM's qwen3"):
        link_for_mlc(qwen, tmp_path / "links")
