"""Every built-in backend keeps the contract; the slow ones are tried at night."""

from __future__ import annotations

import pytest

from decodebench.core.isolation.plugins import all_plugins
from decodebench.testing import BackendConformance

ONE_THREAD = {"n_threads": 1}  # threads that spin beside other work make everything slow, and nothing more correct


@pytest.fixture(scope="module", autouse=True)
def own_cache(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        yield


class TestLlamaCpp(BackendConformance):
    backend = "llama-cpp"
    quantisation = "f32"
    options = {**ONE_THREAD, "kv_cache_type": "f32", "flash_attention": "off"}


@pytest.mark.nightly
class TestDFlash(BackendConformance):
    backend = "dflash"
    options = ONE_THREAD


@pytest.mark.nightly
class TestLlamaCppQuantised(BackendConformance):
    backend = "llama-cpp"
    quantisation = "q4_k_m"
    options = ONE_THREAD


@pytest.mark.nightly
class TestTransformers(BackendConformance):
    backend = "transformers"
    options = ONE_THREAD


@pytest.mark.nightly
class TestTinygrad(BackendConformance):
    backend = "tinygrad"
    options = ONE_THREAD


@pytest.mark.nightly
class TestMlc(BackendConformance):
    backend = "mlc"
    options = ONE_THREAD


@pytest.mark.nightly
class TestDraftTarget(BackendConformance):
    backend = "draft-target"
    options = ONE_THREAD


@pytest.mark.nightly
class TestDraftTargetAdaptive(BackendConformance):
    backend = "draft-target"
    options = {**ONE_THREAD, "adaptive": True, "drafter": "prompt-lookup"}


@pytest.mark.nightly
class TestDFlashWithCandidates(BackendConformance):
    backend = "dflash"
    options = {**ONE_THREAD, "candidate_mode": "branch_beam"}


@pytest.mark.nightly
class TestDFlashScheduled(BackendConformance):
    backend = "dflash"
    options = {**ONE_THREAD, "scheduler": "adl_ewma"}


@pytest.mark.nightly
class TestFastDllm(BackendConformance):
    backend = "fast-dllm"
    options = ONE_THREAD


@pytest.mark.nightly
class TestFastDllmFullAttention(BackendConformance):
    backend = "fast-dllm"
    model = "tiny:llada"
    options = ONE_THREAD


def test_every_built_in_backend_is_held_to_the_contract():
    suites = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, BackendConformance)]
    held = {suite.backend for suite in suites if suite is not BackendConformance}
    registry = all_plugins()
    ours = [p for p in registry.plugins if p.distribution == "decodebench"]
    assert held >= {name for plugin in ours for name in plugin.provides.get("decodebench_backends", ())}
