"""One published checkpoint for every engine: what is opened as it is, what is converted, and under which names."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import ModelCache, ModelError, UsageError
from decodebench.core.api.model_check import check_model
from decodebench.core.api.plan_content import plan_content
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.sources.hub import wanted
from decodebench.plugins.reference import WEIGHTS_FOLDER

from .refusals import refused

SPLIT = Path(__file__).parent / "data" / "gguf_split"
pytestmark = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf, which unpacks weights")
WORKLOAD = {"model": str(SPLIT), "prompt_tokens": 8, "output_tokens": 4, "samples": 1}


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


@pytest.fixture
def planned(registry, cache):
    """Return the cells of settings as flags give them, and what was left out."""

    def make(*backends, options=None, quantisations=(), **workload):
        settings = {"backends": backends, "quantisations": quantisations, "options": options or {}, **WORKLOAD}
        content, left_out = plan_content(None, settings | workload, registry)
        return expand(build(content, "test"), registry, ModelCache(cache)).cells, left_out

    return make


def test_a_gguf_model_runs_in_its_own_format_or_as_a_folder(planned):
    cells, _ = planned("llama-cpp", "tinygrad", "transformers", "mlc", "mlx")
    assert [(cell.backend.name, cell.quantisation, cell.model.container) for cell in cells] == [
        ("llama-cpp", "f32", "gguf"), ("tinygrad", "f32", "gguf"), ("transformers", "none", "safetensors"),
        ("mlc", "q0f32", "safetensors"), ("mlx", "none", "safetensors"),
    ]  # fmt: skip
    assert len({cell.model.content_hash for cell in cells}) == 1
    assert len({cell.model.path for cell in cells[2:]}) == 1
    assert cells[2].model.notes == ("weights from f32",)


def test_common_names_are_what_each_backend_calls_them(planned):
    cells, left_out = planned(
        "transformers", "llama-cpp", "mlc", quantisations=("fp32", "bf16", "8bit"), model="tiny:draft"
    )
    found = [(cell.backend.name, cell.quantisation, cell.expanded_options.get("dtype")) for cell in cells]
    assert found == [
        ("transformers", "none", "float32"), ("transformers", "none", "bfloat16"), ("transformers", "int8", "float32"),
        ("llama-cpp", "f32", None), ("llama-cpp", "bf16", None), ("llama-cpp", "q8_0", None),
        ("mlc", "q0f32", None), ("mlc", "q8f16_g32", None),
    ]  # fmt: skip
    assert left_out == ["backend 'mlc' has no quantisation 'bf16': left out"]
    same, _ = planned("transformers", quantisations=("none",), options={"dtype": "bfloat16"}, model="tiny:draft")
    assert same[0].id == found_id(cells, "bfloat16"), "a common name is spelled out, so that the cell is the same"


def found_id(cells, dtype):
    return next(cell.id for cell in cells if cell.expanded_options.get("dtype") == dtype)


def test_a_format_is_chosen_for_one_backend(planned):
    cells, _ = planned("transformers", "llama-cpp", quantisations=("llama-cpp:q4_0",), model="tiny:draft")
    assert [cell.quantisation for cell in cells] == ["none", "q4_0"]
    cells, _ = planned("transformers", "llama-cpp", quantisations=("fp32", "llama-cpp:q4_0"), model="tiny:draft")
    assert [cell.quantisation for cell in cells] == ["none", "q4_0"]


@pytest.mark.parametrize(
    ("quantisations", "options", "message"),
    [
        (("llama-cp:q4_0",), {}, "unknown backend 'llama-cp' in -q; did you mean 'llama-cpp'"),
        (("llama-cpp:q4",), {}, "unknown quantisation 'q4' of backend 'llama-cpp'"),
        (("bf17",), {}, "unknown quantisation 'bf17'; did you mean 'bf16'"),
        (("bf16",), {"dtype": "float32"}, "bf16 is quantisation 'none' with dtype = 'bfloat16', and dtype = 'float32'"),
    ],
)
def test_what_does_not_go_together_is_refused(planned, quantisations, options, message):
    with pytest.raises(UsageError, match=message):
        planned("llama-cpp", "transformers", quantisations=quantisations, options=options, model="tiny:draft")


def test_equal_files_under_another_name_are_converted_once(planned, tmp_path):
    copy = shutil.copytree(SPLIT, tmp_path / "another name")
    first, second = (planned("transformers", model=str(path))[0][0] for path in (SPLIT, copy))
    assert first.model.path == second.model.path and first.id == second.id


def test_the_hash_covers_every_part(tmp_path, cache):
    copy = shutil.copytree(SPLIT, tmp_path / "copy")
    whole = resolve(str(copy), {}, ModelCache(cache)).content_hash
    named = [resolve(str(file), {}, ModelCache(cache)).content_hash for file in sorted(copy.iterdir())]
    assert [whole, whole] == named
    last = sorted(copy.iterdir())[-1]
    last.chmod(0o644)
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    assert resolve(str(copy), {}, ModelCache(cache)).content_hash != whole


def test_a_snapshot_of_the_hub_is_found_offline(tmp_path, monkeypatch, cache):
    revision = "0" * 40
    stored = tmp_path / "models--org--name"
    shutil.copytree(WEIGHTS_FOLDER / "draft", stored / "snapshots" / revision)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = resolve("org/name", {}, ModelCache(cache))
    assert found.path == stored / "snapshots" / revision and found.architecture == "Qwen3ForCausalLM"
    with refused("model-not-found"):
        resolve("org/other", {}, ModelCache(cache))
    with pytest.raises(ModelError, match="nothing is downloaded here; .* hf download org/other --include"):
        check_model("org/other/model.gguf")


def test_of_a_repository_one_model_is_fetched():
    describing = ["*.json", "*.jinja", "*.model", "*.txt"]
    both = ["model-00001-of-00002.safetensors", "consolidated.safetensors"]
    assert wanted("a/b", both) == [*describing, "model*.safetensors"]
    assert wanted("a/b", ["weights.safetensors", "pytorch_model.bin", "x.gguf"]) == [*describing, "*.safetensors"]
    assert wanted("a/b", ["config.json", "pytorch_model.bin"]) == [*describing, "pytorch_model*.bin"]
    assert wanted("a/b", [f"m-0000{n}-of-00002.gguf" for n in (1, 2)]) == [*describing, "*.gguf"]
    with pytest.raises(ModelError, match="holds 2 GGUF models; name one: a/b/q4.gguf, a/b/q8.gguf"):
        wanted("a/b", ["q4.gguf", "q8.gguf"])


def test_every_backend_says_what_it_makes_of_a_model():
    found = {verdict.backend: verdict for verdict in check_model(str(SPLIT)).backends}
    assert (found["llama-cpp"].opens, found["llama-cpp"].formats[0]) == ("as it is", "f32")
    assert (found["transformers"].opens, found["transformers"].formats[0]) == ("converted", "none")
    assert found["transformers"].disk_bytes == 4 * 164176 and found["llama-cpp"].disk_bytes is None
    assert found["draft-target"].opens == "with options" and "drafter=prompt-lookup" in found["draft-target"].reason
    assert found["fast-dllm"].opens == "no" and "'LlamaForCausalLM'" in found["fast-dllm"].reason


def test_an_unknown_architecture_is_refused_before_anything_is_made(cli, tmp_path):
    folder = shutil.copytree(WEIGHTS_FOLDER / "draft", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["NewForCausalLM"], "model_type": "new"})
    )
    found = cli("models", "--check", folder, "--json").json["backends"]
    reasons = {each["backend"]: each["reason"] for each in found if each["opens"] == "no"}
    assert reasons.keys() >= {"draft-target", "fast-dllm", "llama-cpp", "mlc", "mlx", "tinygrad", "transformers"}
    assert "A .gguf file of the model is opened as it is" in reasons["llama-cpp"]
    ended = cli("run", "-b", "transformers", "-m", folder, "--prompt-tokens", 4, "-o", tmp_path / "out")
    assert ended.code == 2 and "has no model class 'NewForCausalLM'" in ended.err


@pytest.mark.nightly
def test_a_run_from_gguf_is_marked(cli, tmp_path):
    run = ("run", "-m", SPLIT, "--prompt-tokens", 8, "--output-tokens", 4, "--samples", 1, "--warmup", 0, "--rounds", 1)
    ended = cli(
        *run, "-b", "transformers", "-b", "llama-cpp", "--set", "kv_cache_type=f32", "-o", tmp_path / "out", "--json"
    )
    assert ended.code == 0, ended.err
    runs = [json.loads(line) for file in (tmp_path / "out").rglob("*.jsonl") for line in file.read_text().splitlines()]
    notes = {note for line in runs if line.get("type") == "load" for note in line["notes"]}
    assert notes == {"weights from f32"}
