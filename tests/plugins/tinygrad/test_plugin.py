"""What the plugin says of itself, and of an engine that is missing or damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import ValidationError

from decodebench.core.contract import requirements
from decodebench.core.sdk.gguf.formats import QUANTISATIONS as LLAMA_CPP
from decodebench.plugins.tinygrad import availability
from decodebench.plugins.tinygrad.backend import TinygradBackend


def test_importing_and_probing_import_no_engine():
    code = (
        "import sys; from decodebench.plugins.tinygrad import TinygradBackend as B; "
        "print(B.probe().available, len(B.quantisations()) > 5, 'tinygrad' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "True", "False", "False"]


def test_the_probe_tells_the_version():
    assert TinygradBackend.probe().version == version("tinygrad")


def test_without_clang_the_reason_and_the_fix_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(availability, "_GPUS", ())
    monkeypatch.setattr(sys, "platform", "linux")
    told = TinygradBackend.probe()
    assert not told.available
    assert told.reason == "tinygrad compiles CPU kernels with 'clang', which is not on the PATH"
    assert told.fix == "apt-get install clang"


def test_a_gpu_makes_up_for_a_missing_clang(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    node = tmp_path / "nvidiactl"
    node.touch()
    monkeypatch.setattr(availability, "_GPUS", (str(node),))
    assert TinygradBackend.probe().available


def test_without_tinygrad_the_command_that_installs_it_is_told(monkeypatch):
    def missing(name):
        raise requirements.PackageNotFoundError(name)

    monkeypatch.setattr(requirements, "version", missing)
    told = TinygradBackend.probe()
    assert (told.available, told.fix) == (False, 'pip install "tinygrad==0.13.0"')


@pytest.mark.parametrize("lost", ["llm/gguf.py", "llm/model.py", "uop/ops.py"])
def test_a_wheel_that_lacks_modules_of_the_language_model_is_refused(monkeypatch, tmp_path, lost):
    import importlib.util

    installed = Path(importlib.util.find_spec("tinygrad").origin).parent
    copy = tmp_path / "tinygrad"
    for path in ("__init__.py", "llm/__init__.py", "llm/gguf.py", "llm/model.py", "uop/__init__.py", "uop/ops.py"):
        if path != lost:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(installed / path, copy / path)
    spec = importlib.util.spec_from_file_location("tinygrad", copy / "__init__.py")
    monkeypatch.setattr(availability, "find_spec", lambda _: spec)
    told = TinygradBackend.probe()
    module = "tinygrad." + lost.removesuffix(".py").replace("/", ".")
    assert not told.available and f"lacks {module}" in told.reason
    assert told.fix == 'pip install "tinygrad==0.13.0"'


def test_gguf_formats_are_those_of_llama_cpp_with_the_same_bits():
    offered = {q.name: q for q in TinygradBackend.quantisations()}
    assert next(iter(offered)) == "float32"
    shared = [q for q in LLAMA_CPP if q.name in offered]
    assert all(offered[q.name].bits_per_weight == q.bits_per_weight for q in shared)
    assert {"f16", "q8_0", "q4_0", "q4_k_m", "q6_k"} <= {q.name for q in shared}
    assert not {"q2_k", "q3_k_m", "iq4_nl"} & set(offered), "tinygrad cannot unpack their blocks"


def test_the_cpu_is_a_device():
    code = "from decodebench.plugins.tinygrad import TinygradBackend as B; print(','.join(B.devices()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cpu" in ended.stdout.strip().split(",")


@pytest.mark.parametrize("options", [{"n_threads": 0}, {"beam": -1}, {"prefill_chunk": 1}, {"renderer": ""}, {"x": 1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        TinygradBackend.Options(**options)
