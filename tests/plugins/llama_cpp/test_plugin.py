"""The plugin without its engine, its options, devices and the trial of repacked weights."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from pydantic import ValidationError

from decodebench import PreparedModel
from decodebench.core.contract import requirements
from decodebench.core.errors import UsageError
from decodebench.plugins import llama_cpp as plugin
from decodebench.plugins.llama_cpp import backend as backend_module
from decodebench.plugins.llama_cpp import devices, extra_buffers
from decodebench.plugins.llama_cpp.options import LlamaCppOptions

from ...refusals import refused
from .. import models

ENGINES = ("llama_cpp", "gguf", "numpy", "torch", "transformers", "tokenizers")


def test_plugin_and_probe_need_no_engine():
    code = (
        f"import sys\nfor name in {ENGINES!r}: sys.modules[name] = None\n"
        "import decodebench.plugins.llama_cpp as p\n"
        "(b,) = p.decodebench_backends()\nprint(b.probe().available, len(b.quantisations()), b.Options())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("True")


def test_probe_names_what_is_missing_and_the_remedy(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(requirements, "version", absent)
    found = backend_module.LlamaCppBackend.probe()
    assert not found.available and found.version is None
    assert "llama-cpp-python" in found.reason
    assert found.fix.startswith('pip install "decodebench[llama-cpp]"') and "cmake" in found.fix


def test_hook_returns_the_backend():
    (backend,) = plugin.decodebench_backends()
    assert backend.name == "llama-cpp" and backend.first_step_is_prefill


@pytest.mark.parametrize(
    "options",
    [
        {"n_threads": 0},
        {"n_batch": 64, "n_ubatch": 128},
        {"kv_cache_type": "q8_0", "flash_attention": "off"},
        {"flash_attention": "maybe"},
        {"n_thread": 1},
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_loads(options):
    with pytest.raises(ValidationError):
        LlamaCppOptions(**options)


def test_every_option_is_described():
    assert all(field.description for field in LlamaCppOptions.model_fields.values())


def test_cpu_is_the_last_device():
    assert devices.list_devices()[-1] == "cpu"


@pytest.mark.parametrize(
    ("engine_name", "label"), [("CUDA0", "cuda:0"), ("CUDA11", "cuda:11"), ("MTL0", "metal"), ("Vulkan1", "vulkan:1")]
)
def test_device_names(engine_name, label):
    assert devices.device_label(engine_name) == label


def test_absent_gpu_is_refused():
    with refused("unknown-name", name="cuda:9"):
        devices.device_list("cuda:9")
    with pytest.raises(UsageError, match="n_gpu_layers=4 needs a GPU"):
        devices.check_layers("cpu", 4)


def test_trial_runs_in_a_process_of_its_own():
    assert extra_buffers.prefill_survives() in (True, False)
    crash = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert extra_buffers.prefill_survives(crash) is False
    assert extra_buffers.prefill_survives((sys.executable, "-c", "pass")) is True


@pytest.mark.parametrize("survived", [True, False])
def test_verdict_is_found_once_and_kept(monkeypatch, tmp_path, survived):
    trials = []
    monkeypatch.setattr(extra_buffers, "prefill_survives", lambda: trials.append(1) or survived)
    assert [extra_buffers.use_extra_buffers("auto", tmp_path) for _ in range(3)] == [survived] * 3
    assert len(trials) == 1
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text())["survived"] is survived
    monkeypatch.setattr(extra_buffers, "_machine", lambda: {"hostname": "another"})
    extra_buffers.use_extra_buffers("auto", tmp_path)
    assert len(trials) == 2


@pytest.mark.parametrize(("switch", "chosen"), [("on", True), ("off", False)])
def test_explicit_choice_needs_no_trial(monkeypatch, tmp_path, switch, chosen):
    monkeypatch.setattr(extra_buffers, "prefill_survives", None)
    assert extra_buffers.use_extra_buffers(switch, tmp_path) is chosen


def test_choice_is_recorded_and_used(load, checkpoints, monkeypatch):
    monkeypatch.setattr(extra_buffers, "use_extra_buffers", lambda switch, root: False)
    loaded = load(checkpoints["qwen3"], "q4_0", extra_buffers="auto")
    assert loaded.facts.settings["extra_buffers"] == "off"
    assert loaded.facts.settings["flash_attention"] in ("on", "off")


def test_engine_refusal_carries_its_reason(load, checkpoints, cache, tmp_path):
    from decodebench.core.errors import ModelError
    from decodebench.plugins.llama_cpp.engine import load_model

    path = tmp_path / "nothing.gguf"
    path.write_bytes(b"GGUF nothing")
    with pytest.raises(ModelError, match=r"nothing.gguf: llama.cpp could not load it: .*\w"):
        load_model(path, "cpu", LlamaCppOptions(), extra_buffers=False)


def test_file_without_tokenizer_generates_and_refuses_text(load, tmp_path):
    from decodebench.core.errors import BackendError

    extra_buffers._write_tiny_model(tmp_path / "tiny.gguf")
    loaded = load(tmp_path / "tiny.gguf", "f32")
    assert len(loaded.tokens((1, 2, 3), 4)) == 4
    with pytest.raises(BackendError, match="no tokenizer"):
        loaded.backend.encode("x")


def test_close_after_a_failed_load_is_harmless(load, tmp_path):
    from decodebench.core.errors import ModelError

    path = tmp_path / "nothing.gguf"
    path.write_bytes(b"GGUF nothing")
    backend, model = backend_module.LlamaCppBackend(), models.resolve(path)
    with pytest.raises(ModelError, match="nothing.gguf"):
        backend.load(PreparedModel(path, "gguf", None, None, model, "f32"), "cpu", LlamaCppOptions())
    assert backend.close() is None
