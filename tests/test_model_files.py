"""Models that cannot be opened are refused by what their files say, before anything is made or measured."""

from __future__ import annotations

import json
import re
import shutil
import struct
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import hypothesis.strategies as st
import pytest

import decodebench.core.cache as cache_module
from decodebench import ModelCache, ModelError
from decodebench.core.api.model_check import check_model
from decodebench.core.api.parity import planned_parity
from decodebench.core.api.plan_content import plan_content
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.sdk.gguf.metadata import read_metadata
from decodebench.core.sdk.gguf.vocabulary import GgufVocabulary
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.sources.hub import wanted
from decodebench.plugins.reference import WEIGHTS_FOLDER

from .gguf_files import parts, small_llama, write
from .refusals import refused

pytestmark = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf, which unpacks weights")
STORED_ONLY = ("q2_k_s", "iq3_m", "iq2_xxs", "iq1_s", "tq1_0", "mxfp4_moe")


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


@pytest.fixture
def planned(registry, tmp_path):
    """Return the cells of backends and formats, as `run` expands them."""

    def make(backend, model, *quantisations, **workload):
        settings = {"backends": [backend], "quantisations": quantisations, "model": str(model)}
        settings |= {"prompt_tokens": 4, "output_tokens": 2, "samples": 1, **workload}
        content, _ = plan_content(None, settings, registry)
        return expand(build(content, "test"), registry, ModelCache(tmp_path / "cache")).cells

    return make


def verdicts(model):
    return {verdict.backend: verdict for verdict in check_model(str(model)).backends}


@pytest.mark.parametrize("quantisation", STORED_ONLY)
def test_formats_that_are_not_made_run_only_as_they_are_stored(planned, tmp_path, quantisation):
    plain = small_llama(tmp_path / "plain.gguf")
    for backend in ("llama-cpp", "llama-server"):
        with refused("quantisation-unsupported", quantisation, "made are f16, f32"):
            planned(backend, plain, quantisation)
        assert not {*STORED_ONLY} & {*verdicts(plain)[backend].formats}
    stored = small_llama(tmp_path / "stored.gguf", general__file_type=24)  # iq1_s
    assert verdicts(stored)["llama-cpp"].formats == ("iq1_s", "f16", "f32", "bf16")
    assert planned("llama-cpp", stored)[0].quantisation == "iq1_s"


def test_a_format_that_tinygrad_cannot_unpack_is_not_opened_as_it_is(tmp_path):
    found = verdicts(small_llama(tmp_path / "m.gguf", "iq4_nl", general__file_type=25))["tinygrad"]
    assert (found.opens, found.formats[0]) == ("converted", "float32")
    assert {"f32", "f16", "bf16"} <= {*found.formats} and not {"gguf", "q4_0", "iq4_nl"} & {*found.formats}


ENGINES = ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx", "draft-target", "dflash")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(WEIGHTS_FOLDER / "draft", tmp_path / "model")


def with_header(file, change):
    """Rewrite the header of a safetensors file."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8 : 8 + length]))
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def field(name, value):
    def change(header):
        tensor = next(each for each in sorted(header) if each != "__metadata__")
        return header | {tensor: header[tensor] | {name: value}}

    return change


def index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def config(folder, **changes):
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(content))


DAMAGE = {
    "a missing shard": lambda f: index(f, {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}),
    "an index with a number": lambda f: index(f, {"a": 5}),
    "an index that is a list": lambda f: index(f, ["model.safetensors"]),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "a header that is a list": lambda f: with_header(f / "model.safetensors", lambda header: [header]),
    "offsets as text": lambda f: with_header(f / "model.safetensors", field("data_offsets", ["0", "8"])),
    "a dtype that is a list": lambda f: with_header(f / "model.safetensors", field("dtype", ["F32"])),
    "offsets below zero": lambda f: with_header(f / "model.safetensors", field("data_offsets", [-8, 0])),
    "overlapping tensors": lambda f: with_header(
        f / "model.safetensors", lambda header: header | {"twin": next(v for v in header.values() if "dtype" in v)}
    ),
    "a cut file": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-4]),
    "an unknown dtype": lambda f: with_header(f / "model.safetensors", field("dtype", "F128")),
    "no tensors": lambda f: (f / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}"),
    "no architecture": lambda f: config(f, architectures=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_engine_opens_a_folder_whose_weights_are_not_what_they_should_be(folder, planned, damage):
    DAMAGE[damage](folder)
    found = verdicts(folder)
    assert {engine: found[engine].opens for engine in ENGINES} == dict.fromkeys(ENGINES, "no")
    assert not [each.reason for each in found.values() if "Error" in (each.reason or "")]
    with pytest.raises(ModelError):
        planned("transformers", folder)


def test_eight_bit_floats_are_left_to_engines_that_have_them(folder):
    def change(header):
        name = next(each for each in sorted(header) if each != "__metadata__")
        begin, end = header[name]["data_offsets"]
        return header | {name: {"dtype": "F8_E4M3", "shape": [end - begin], "data_offsets": [begin, end]}}

    with_header(folder / "model.safetensors", change)
    found = verdicts(folder)
    for engine in ("llama-cpp", "tinygrad", "mlc", "mlx", "dflash"):
        assert found[engine].opens == "no" and "F8_E4M3" in found[engine].reason
    assert found["transformers"].opens == "as it is"


def test_a_description_is_enough_of_a_model_of_the_hub(folder, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot, ignore=shutil.ignore_patterns("*.safetensors"))
    found = verdicts(snapshot)
    assert (found["transformers"].opens, found["llama-cpp"].opens) == ("as it is", "as it is")
    assert "no *.safetensors file" in found["mlc"].reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"general__architecture": "foo", "foo__block_count": 2}, "general.architecture = 'foo'"),
        ({"general__architecture": None}, "general.architecture is missing"),
        ({"general__architecture": 7}, "general.architecture = '7'"),
        ({"general__architecture": "clip"}, "general.architecture = 'clip'"),
        ({"general__type": "adapter"}, "general.type = 'adapter'"),
        ({"llama__block_count": None}, "llama.block_count = None"),
        ({"llama__context_length": 0}, "llama.context_length = 0"),
    ],
)
def test_a_gguf_file_that_llama_cpp_does_not_know_is_refused(tmp_path, planned, fields, words):
    file = small_llama(tmp_path / "m.gguf", **fields)
    found = verdicts(file)
    for engine in ("llama-cpp", "llama-server"):
        assert found[engine].opens == "no" and words in found[engine].reason
    with pytest.raises(ModelError, match=re.escape(words)):
        planned("llama-cpp", file)


def test_a_shard_of_mlc_s_format_that_is_missing_is_named(tmp_path):
    shutil.copytree(Path(__file__).parent / "data" / "mlc", tmp_path / "m")
    found = check_model(str(tmp_path / "m"))
    reason = {each.backend: each.reason for each in found.backends}["mlc"]
    assert ".bin: is missing" in reason


DAMAGED_FIELDS = [
    ({"general__alignment": 0}, "general.alignment = 0"),
    ({"general__alignment": "32"}, "general.alignment = '32'"),
    ({"split__no": "first", "split__count": 1}, "split.no = 'first'"),
    ({"odd": struct.pack("<IIQ", 9, 8, 2**63) + b"\0" * 64}, "cut off"),
    ({"odd": struct.pack("<IIQQ", 9, 8, 2, 2**64 - 1)}, "cut off"),
    ({"odd": struct.pack("<IIQ", 9, 4, 2**64 - 1)}, "cut off"),
]


@pytest.mark.parametrize(("fields", "words"), DAMAGED_FIELDS)
def test_a_damaged_gguf_file_is_named_with_its_field(tmp_path, fields, words):
    file = small_llama(tmp_path / "m.gguf", **fields)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        check_model(str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "offset", "words"),
    [((0, 4), 0, "has no weights"), ((), 0, "0 dimensions"), ((32,), 16, "overlap"), ((32,), 2**63, "is cut off")],
)
def test_a_damaged_table_of_a_gguf_file_is_named(tmp_path, shape, offset, words):
    file = write(tmp_path / "m.gguf", {}, [("a", (32,), 0, 0), ("b", shape, 0, offset)], 256)
    with pytest.raises(ModelError, match=words):
        check_model(str(file))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architectures", [["X"]]), ("architectures", 5), ("num_attention_heads", 0), ("num_hidden_layers", "2"),
        ("num_key_value_heads", -1), ("hidden_size", 10**30), ("vocab_size", 1.5), ("rms_norm_eps", "x"),
        ("max_position_embeddings", 0), ("rope_theta", "x"), ("rope_scaling", 5), ("head_dim", 0),
        ("rope_scaling", {"rope_type": "linear", "factor": 0}),
    ],
)  # fmt: skip
def test_a_field_of_a_configuration_of_the_wrong_kind_is_named(folder, planned, name, value):
    if name.startswith("rope"):
        config(folder, rope_parameters=None)
    config(folder, **{name: value})
    for backend in ("llama-cpp", "tinygrad", "mlc"):
        with pytest.raises(ModelError, match=rf"config\.json: {name}") as caught:
            planned(backend, folder)
        assert caught.value.code == "model-config-invalid"


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1,
        7,
        2**31,
        2**63 - 1,
        0.0,
        1.5,
        -2.5,
        1e38,
        "",
        "x",
        [],
        [1],
        [0, 1],
        ["x"],
        [[1]],
        {},
        {"x": 1},
    ]
)


def only_model_errors(path):
    """Let every engine look at a model; whatever is wrong with it is said as such."""
    try:
        found = check_model(str(path))
    except ModelError:
        return
    wrong = [f"{each.backend}: {each.reason}" for each in found.backends if CRASH.search(each.reason or "")]
    assert not wrong


CRASH = re.compile(r"^backend '[\w-]+': \w+")


@hypothesis.settings(deadline=None, max_examples=25, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(data=st.data())
def test_damaged_configurations_are_model_errors(data):
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        shutil.copytree(WEIGHTS_FOLDER / "draft", folder)
        content = json.loads((folder / "config.json").read_text())
        names = sorted({*content, "rope_scaling", "text_config", "layer_types", "quantization_config", "head_dim"})
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)):
            value = data.draw(VALUES)
            content = {key: old for key, old in content.items() if key != name}
            content |= {name: value} if data.draw(st.booleans()) else {}
        (folder / "config.json").write_text(json.dumps(content))
        if data.draw(st.booleans()):
            with_header(folder / "model.safetensors", field(data.draw(st.sampled_from(PLACES)), data.draw(VALUES)))
        only_model_errors(folder)


PLACES = ["dtype", "shape", "data_offsets", "more"]


@hypothesis.settings(deadline=None, max_examples=25, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(data=st.data())
def test_damaged_fields_of_gguf_files_are_model_errors(data):
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "m.gguf"
        values = VALUES.filter(lambda value: not isinstance(value, dict))
        names = sorted(parts()[0])
        fields = {
            name: data.draw(values) for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
        }
        small_llama(file, **fields)
        if data.draw(st.booleans()):
            content = bytearray(file.read_bytes())
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, 20000))] = data.draw(st.integers(0, 255))
            file.write_bytes(content)
        only_model_errors(file)


def test_where_no_tokenizer_is_named_texts_are_cut_as_llama_cpp_cuts_them(tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp")
    file = small_llama(tmp_path / "m.gguf", tokenizer__ggml__pre=None)
    found = check_model(str(file))
    assert "tokenizer.ggml.pre is missing" in " ".join(found.notes)
    ours = GgufVocabulary(read_metadata(file), str(file))
    engine = llama_cpp.Llama(str(file), vocab_only=True, verbose=True)  # silenced by pytest
    for text in (
        "Tom's 12345 apples, 7+8=15!",
        "a  b\n\n c",
        "x^2 <= $40~|y|",
        "Grüße, 東京 100%",
        "we'll 1 22 333 4444",
    ):
        assert ours.encode(text, adds_special=False) == engine.tokenize(text.encode(), add_bos=False), text
    engine.close()


@pytest.mark.parametrize(
    ("backend", "change", "words"),
    [
        ("transformers", {"architectures": ["NewForCausalLM"]}, "A .gguf file of the model is opened as it is"),
        ("mlx", {"model_type": "new"}, "A .gguf file of the model is opened as it is"),
        ("mlc", {"rope_parameters": None, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "in MLC's format"),
        ("mlc", {"quantization_config": {"quant_method": "fp8"}}, "a .gguf file of it too"),
        ("mlc", {"architectures": ["NewForCausalLM"]}, "in MLC's format"),
    ],
)
def test_what_an_engine_does_not_know_is_refused_with_what_would_work(folder, planned, backend, change, words):
    config(folder, **change)
    with pytest.raises(ModelError, match=re.escape(words)):
        planned(backend, folder)


def test_an_unknown_tokenizer_is_refused_with_what_would_work(tmp_path, planned):
    file = small_llama(tmp_path / "m.gguf", tokenizer__ggml__pre="new-kind")
    with refused("tokenizer-unsupported", "'new-kind'", "for the others name the Hugging Face folder"):
        planned("transformers", file)


def answering(status):
    from huggingface_hub.errors import HfHubHTTPError

    http = import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])  # its client, of whatever name
    response = http.Response(status, request=http.Request("GET", "https://huggingface.co"))

    def fail(*_, **__):
        raise HfHubHTTPError(f"{status}", response=response)

    return fail


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the Hub with one model."""
    stored = tmp_path / "models--org--name"
    shutil.copytree(WEIGHTS_FOLDER / "draft", stored / "snapshots" / ("0" * 40))
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return stored / "snapshots" / ("0" * 40)


@pytest.mark.parametrize("status", [403, 407, 429, 500, 502, 503])
def test_a_snapshot_is_used_where_the_hub_answers_with_an_error(tmp_path, monkeypatch, hub, status):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", answering(status))
    cache = ModelCache(tmp_path / "cache")
    assert resolve("org/name", {}, cache).path == hub
    assert len(cache.notices) == 1 and f"HTTP {status}" in cache.notices[0]
    with refused("model-not-found", f"HTTP {status}"):
        resolve("org/other", {}, cache)


def test_a_snapshot_is_not_used_where_the_hub_refuses_the_user(tmp_path, monkeypatch, hub):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", answering(401))
    with refused("model-not-found", "hf auth login"):
        resolve("org/name", {}, ModelCache(tmp_path / "cache"))


def test_weights_in_folders_of_a_repository_are_not_fetched():
    with refused("model-not-found", "name one: a/b/q4/m.gguf"):
        wanted("a/b", ["config.json", "q4/m.gguf"])
    with refused("model-not-found", "a/b has its weights in fp16/", "--include 'fp16/*'"):
        wanted("a/b", ["config.json", "fp16/model.safetensors"])
    assert wanted("a/b", ["model.safetensors", "fp16/model.safetensors"])[-1] == "model*.safetensors"


def test_weights_in_a_folder_of_a_folder_are_named(folder, planned):
    (folder / "fp16").mkdir()
    (folder / "model.safetensors").rename(folder / "fp16" / "model.safetensors")
    with refused("container-unsupported", "fp16/", "name that folder"):
        planned("transformers", folder)


def test_looking_at_a_plan_converts_nothing_and_a_conversion_is_announced(cli, cache, tmp_path):
    file = small_llama(tmp_path / "big.gguf", general__name=str(tmp_path))
    run = ("run", "-b", "transformers", "-m", file, "--prompt-tokens", 4, "--dry-run", "--json", "-o", tmp_path / "out")
    before = {*cache.glob("folder-*")}
    shown = cli(*run, "--no-probe")
    assert shown.code == 0 and "converting" not in shown.err and {*cache.glob("folder-*")} == before
    assert [cell["backend"] for cell in shown.json["cells"]] == ["transformers"]
    converted = cli("prepare", "-b", "transformers", file)
    assert converted.code == 0 and converted.err.count("to a Hugging Face folder in the cache, 0.00 GB, once") == 1
    assert "converting" not in cli("prepare", "-b", "transformers", file).err


def test_cells_are_the_same_whether_or_not_models_are_converted(registry, tmp_path):
    settings = {"backends": ["transformers", "mlc"], "model": str(small_llama(tmp_path / "m.gguf"))}
    settings |= {"prompt_tokens": 4, "output_tokens": 2, "samples": 1}
    content, _ = plan_content(None, settings, registry)
    both = [
        expand(build(content, "test"), registry, ModelCache(tmp_path / "cache"), converts=converts).cells
        for converts in (False, True)
    ]
    assert [cell.id for cell in both[0]] == [cell.id for cell in both[1]]


def test_a_renamed_model_is_converted_once_for_mlx(tmp_path, planned):
    pytest.importorskip("mlx_lm")
    cache = ModelCache(tmp_path / "cache")
    paths = set()
    for name in ("one.gguf", "another.gguf"):
        (cell,) = planned("mlx", small_llama(tmp_path / name), "4bit")
        paths.add(cell.backend.prepare(cell.model, "4bit", "cpu", cell.options, cache).path)
    assert len(paths) == 1


def test_a_large_file_of_the_cache_is_hashed_again_only_where_it_has_changed(tmp_path, monkeypatch):
    def build_large(folder):
        with (folder / "weights").open("wb") as handle:
            handle.truncate(33 * 2**20)

    cache = ModelCache(tmp_path)
    entry = cache.entry("m", "key", build=build_large)
    cache.entry("m", "key", build=build_large)
    hashed = []
    real = cache_module.sha256
    monkeypatch.setattr(cache_module, "sha256", lambda file: hashed.append(file.name) or real(file))
    cache.entry("m", "key", build=build_large)
    assert hashed == []
    with (entry / "weights").open("r+b") as handle:
        handle.write(b"x")
    cache.entry("m", "key", build=build_large)
    assert hashed[0] == "weights" and len(cache.notices) == 1


def test_weights_of_one_folder_are_counted_once(folder, tmp_path):
    size = (folder / "model.safetensors").stat().st_size
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + b"\0" * 96)
    assert check_model(str(folder)).weight_bytes == size


@pytest.mark.parametrize("has_index", [True, False])
def test_a_missing_part_of_pickled_weights_is_named_before_anything_is_read(folder, has_index):
    (folder / "model.safetensors").unlink()
    first, second = (f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))
    (folder / first).write_bytes(b"PK\x03\x04" + b"\0" * 96)
    if has_index:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": first, "b": second}}))
    with refused("model-damaged", second, "missing"):
        check_model(str(folder))


def test_a_reference_of_parity_has_common_names():
    settings = {"backends": ["llama-cpp"], "quantisations": ["q8_0"], "model": "tiny:draft", "samples": 1}
    settings |= {"prompt_tokens": 4, "output_tokens": 2}
    for name, quantisation, dtype in (
        ("fp32", "none", "float32"),
        ("bf16", "none", "bfloat16"),
        ("8bit", "int8", "float32"),
    ):
        cell = planned_parity(settings, f"transformers:{name}").matrix.cells[0]
        assert (cell.quantisation, cell.options.dtype) == (quantisation, dtype)
    with refused("unknown-name", "fp33", nearest="fp32"):
        planned_parity(settings, "transformers:fp33")
