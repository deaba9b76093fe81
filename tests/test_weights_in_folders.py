"""Weights under names, in forms and beside files that libraries read differently: every engine opens the same ones."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from decodebench import ModelCache, Request
from decodebench.core.api.model_check import check_model
from decodebench.core.contract.preflight import PlannedCell
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.models.containers import Models
from decodebench.core.measure.models.formats import choose_formats
from decodebench.core.records.workload import Workload
from decodebench.core.sdk.checkpoint import Checkpoint, read_tensors
from decodebench.core.sdk.hugging_face import weights_view
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.sources.safetensors_file import Entry, write_safetensors
from decodebench.core.sdk.stored_weights import stored_weights
from decodebench.plugins.reference import WEIGHTS_FOLDER

from .gguf_files import SPLIT, small_llama
from .refusals import refused

DRAFT = WEIGHTS_FOLDER / "draft"
SINGLE = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DRAFT, tmp_path / "model")


def verdicts(model):
    return {verdict.backend: verdict for verdict in check_model(str(model)).backends}


def config(folder, *dropped, **changes):
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in content.items() if k not in dropped}))


def write(file, tensors, factor=1.0):
    """Write tensors by name, each a ``StoredTensor`` whose values are multiplied."""
    write_safetensors(
        file,
        [
            Entry(name, "F32", one.shape, lambda one=one: [one.read() * np.float32(factor)])
            for name, one in tensors.items()
        ],
    )


def in_shards(folder, *, has_index=True):
    tensors = {one.name: one for one in read_tensors(DRAFT)}
    names = sorted(tensors)
    halves = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for file, part in halves.items():
        write(folder / file, {name: tensors[name] for name in part})
    if has_index:
        weight_map = {name: file for file, part in halves.items() for name in part}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def another(folder, name, factor=2.0):
    """Write the model's weights a second time, with other values."""
    write(folder / name, {one.name: one for one in read_tensors(DRAFT)}, factor)


def own_head(folder, rows=1):
    """Give the model an output layer: the embedding, its rows shifted."""
    tensors = {one.name: one for one in read_tensors(DRAFT)}
    table = tensors["model.embed_tokens.weight"].read()
    entries = [Entry(name, "F32", one.shape, lambda one=one: [one.read()]) for name, one in tensors.items()]
    head = Entry("lm_head.weight", "F32", table.shape, lambda: [np.roll(table, rows, axis=0)])
    write_safetensors(folder / SINGLE, [*entries, head])


FOLDERS = {
    "shards": lambda f: ((f / SINGLE).unlink(), in_shards(f)),
    "shards without an index": lambda f: ((f / SINGLE).unlink(), in_shards(f, has_index=False)),
    "shards beside other weights": lambda f: (in_shards(f), another(f, SINGLE)),
    "weights of another name": lambda f: (f / SINGLE).rename(f / "weights.safetensors"),
    "a shard of other weights": lambda f: another(f, "model-00001-of-00001.safetensors"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_libraries_are_shown_the_weights_that_the_folder_means_and_no_others(folder, kind):
    FOLDERS[kind](folder)
    meant = {one.name: one.read().tobytes() for one in read_tensors(folder)}
    assert meant == {one.name: one.read().tobytes() for one in read_tensors(DRAFT)}
    with weights_view(folder) as place:
        assert {one.name: one.read().tobytes() for one in read_tensors(place)} == meant
        files = sorted(file.name for file in place.glob("*.safetensors"))
        assert files == [SINGLE] or (len(files) == 2 and (place / "model.safetensors.index.json").is_file())
        assert {"config.json", "tokenizer.json"} <= {file.name for file in place.iterdir()}
        assert (place == folder) == (kind == "shards")
    assert (folder / "config.json").is_file() and place.exists() == (place == folder)


HEADS = {
    "copy of the table": (lambda f: own_head(f, 0), True),
    "other head, said to be tied": (own_head, False),
    "other head, nothing said": (lambda f: (own_head(f), config(f, "tie_word_embeddings")), False),
    "other head, said to be untied": (lambda f: (own_head(f), config(f, tie_word_embeddings=False)), False),
}


@pytest.mark.parametrize("kind", HEADS)
def test_an_output_layer_that_is_not_the_embedding_is_used(folder, kind):
    from decodebench.core.sdk.gguf.architecture import Shape

    make, is_tied = HEADS[kind]
    make(folder)
    assert Shape.of_any(Checkpoint(folder)).tied is is_tied


ENGINES = {"transformers": "none", "llama-cpp": "f32", "tinygrad": "float32", "mlc": "q0f32", "mlx": "none"}
OPTIONS = {"llama-cpp": {"kv_cache_type": "f32", "flash_attention": "off"}}
PACKAGES = {"llama-cpp": "llama_cpp", "mlc": "tvm", "mlx": "mlx_lm"}  # of engines that are not called so


@pytest.fixture
def tokens(cache):
    """Return the greedy tokens of a model by an engine in float32."""
    registry = all_plugins()

    def made(engine, path, count=12):
        backend, models = registry.backend(engine), Models(registry.models, ModelCache(cache))
        model = models.find(str(path))
        (chosen,) = choose_formats(backend, model, [ENGINES[engine]])
        model = models.readable(model, backend, chosen.quantisation)
        options = backend.Options(**chosen.with_options(backend, OPTIONS.get(engine, {})))
        name = chosen.quantisation.name
        assert not backend.preflight(PlannedCell(model, name, "cpu", options, Workload())).errors
        one = backend()
        one.load(backend.prepare(model, name, "cpu", options, ModelCache(cache)), "cpu", options)
        found = [token for step in one.generate([Request((5, 60, 7, 200, 33), count)]) for token in step.token_ids]
        one.close()
        return found

    return made


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [*FOLDERS, *HEADS])
def test_every_engine_gives_the_same_tokens(folder, tokens, kind):
    FOLDERS[kind](folder) if kind in FOLDERS else HEADS[kind][0](folder)
    engines = [engine for engine in ENGINES if find_spec(PACKAGES.get(engine, engine))]
    found = {engine: tokens(engine, folder) for engine in engines}
    assert len({tuple(one) for one in found.values()}) == 1, found
    if kind not in HEADS or HEADS[kind][1]:
        assert found["transformers"] == tokens("transformers", DRAFT)
    else:
        assert found["transformers"] != tokens("transformers", DRAFT)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"vocab_size": 517},
        {"num_attention_heads": 4},
        {"tie_word_embeddings": False},
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    ],
)
def test_no_engine_runs_other_tensors_than_the_configuration_states(folder, changes):
    config(folder, **changes)
    found = verdicts(folder)
    for engine in ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx"):
        assert found[engine].opens == "no" and "tensor" in found[engine].reason, engine


def test_a_missing_shard_is_noticed_without_an_index(folder):
    FOLDERS["shards without an index"](folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert {each.opens for each in verdicts(folder).values() if each.backend in ENGINES} == {"no"}


@pytest.mark.parametrize(
    ("stated", "words", "form"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX, 4 bits", "4bit"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, "MLX mxfp4, 4 bits", "mxfp4"),
        ({"quantization_config": {"quant_method": "GPTQ", "bits": 8}}, "gptq, 8 bits", "8bit"),
        ({"quantization_config": {"quant_method": "awq", "w_bit": 4}}, "awq, 4 bits", "4bit"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes, 4 bits", None),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8", None),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4", "mxfp4"),
        ({"quantization_config": [1]}, "unknown", None),
    ],
)
def test_quantised_weights_are_told_by_the_configuration(stated, words, form):
    found = stored_weights(stated)
    assert (found.words, found.format) == (words, form)
    assert stored_weights({"quantization_config": None, "quantization": {}, "text_config": 5}) is None


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "no-such-method"])
def test_weights_that_are_quantised_are_not_taken_for_floats(folder, method):
    config(folder, quantization_config={"quant_method": method, "bits": 4})
    found = verdicts(folder)
    for engine in ("transformers", "draft-target", "llama-cpp", "tinygrad", "mlc", "dflash"):
        if engine in found:
            assert found[engine].opens == "no" and found[engine].reason, engine
    assert method in found["transformers"].reason and ".gguf" in found["transformers"].reason
    if find_spec("mlx_lm"):
        assert found["mlx"].formats == (("4bit",) if method in ("gptq", "awq") else ())
    assert check_model(str(folder)).notes == (f"weights from {method}, 4 bits",)


@pytest.fixture
def packed(tmp_path):
    """Return a folder whose weights mlx-lm has quantised."""
    pytest.importorskip("mlx_lm")
    from decodebench.plugins.mlx.quantise import write_quantised

    folder = tmp_path / "packed"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(DRAFT / name, folder)
    write_quantised(DRAFT, "4bit", "float32", folder)
    return folder


def test_weights_of_mlx_are_opened_by_mlx_as_they_are_and_by_no_other(packed, tmp_path):
    found = verdicts(packed)
    assert (found["mlx"].opens, found["mlx"].formats) == ("as it is", ("4bit",))
    for engine in ("transformers", "llama-cpp", "tinygrad", "mlc"):
        assert found[engine].opens == "no", engine
    assert "MLX opens them" in found["transformers"].reason
    backend = all_plugins().backend("mlx")
    model = resolve(str(packed), {}, ModelCache(tmp_path / "cache"))
    (chosen,) = choose_formats(backend, model, None)
    name, options = chosen.quantisation.name, backend.Options()
    prepared = backend.prepare(model, name, "cpu", options, ModelCache(tmp_path / "cache"))
    assert (prepared.path, prepared.quantisation) == (packed, "4bit")
    assert prepared.source.notes == ("weights from MLX, 4 bits",)
    assert 4 < prepared.bits_per_weight < 16
    for other in ("none", "8bit"):
        with refused("quantisation-unsupported", "MLX, 4 bits", "ask for 4bit"):
            backend.preflight(PlannedCell(model, other, "cpu", backend.Options(), Workload()))


def test_an_adapter_is_refused_with_the_model_that_it_changes(folder, tmp_path):
    only = tmp_path / "adapter"
    only.mkdir()
    (only / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    for weights in ("adapter_model.safetensors", "adapter_model.bin"):
        (only / weights).write_bytes(b"PK\x03\x04" + b"\0" * 96)
        with refused("container-unsupported", "'org/base'", "merge"):
            check_model(str(only))
        (only / weights).unlink()
    shutil.copy(only / "adapter_config.json", folder)
    assert verdicts(folder)["transformers"].opens == "as it is"


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model.onnx", "tf_model.h5", "flax_model.msgpack"])
def test_weights_of_another_form_are_named(folder, tmp_path, place):
    (folder / SINGLE).unlink()
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_bytes(b"x")
    snapshot = shutil.copytree(folder, tmp_path / "models--org--name" / "snapshots" / ("0" * 40))
    for path in (folder, snapshot):
        found = verdicts(path)
        for engine in ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx"):
            assert found[engine].opens == "no" and place in found[engine].reason, engine


def test_a_link_to_a_file_of_the_hubs_cache_is_the_model_that_it_is_called(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots"
    blobs.mkdir()
    snapshot.mkdir()
    small_llama(blobs / "f00d")
    (snapshot / "m.gguf").symlink_to("../blobs/f00d")
    for at, part in enumerate(sorted(SPLIT.iterdir())):
        shutil.copy(part, blobs / f"{at}")
        (snapshot / part.name).symlink_to(f"../blobs/{at}")
    cache = ModelCache(tmp_path / "cache")
    assert resolve(str(snapshot / "m.gguf"), {}, cache).container == "gguf"
    first = sorted(SPLIT.iterdir())[0]
    assert resolve(str(snapshot / first.name), {}, cache).content_hash == resolve(str(SPLIT), {}, cache).content_hash
    (tmp_path / "elsewhere.gguf").symlink_to(first)  # a link to one part alone
    assert resolve(str(tmp_path / "elsewhere.gguf"), {}, cache).path == first.resolve()
    assert Path(resolve(str(snapshot / "m.gguf"), {}, cache).path).name == "m.gguf"
