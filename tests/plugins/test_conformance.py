"""Every built-in backend keeps the contract; the slow ones are tried at night."""

from __future__ import annotations

import pytest

from decodebench.core.isolation.plugins import all_plugins
from decodebench.testing import BackendConformance

FURTHER = {  # beside every backend as it is without options
    "llama-cpp in float32": {
        "backend": "llama-cpp",
        "quantisation": "f32",
        "options": {"kv_cache_type": "f32", "flash_attention": "off"},
    },
    "llama-cpp in 4 bits": {"backend": "llama-cpp", "quantisation": "q4_k_m"},
    "draft-target, adaptive": {"backend": "draft-target", "options": {"adaptive": True, "drafter": "prompt-lookup"}},
    "dflash with candidates": {"backend": "dflash", "options": {"candidate_mode": "branch_beam"}},
    "dflash, scheduled": {"backend": "dflash", "options": {"scheduler": "adl_ewma"}},
    "fast-dllm, full attention": {"backend": "fast-dllm", "model": "tiny:llada"},
}
IN_CI = "llama-cpp in float32"


def cases() -> list:
    """Every backend of ours that is registered, and what is further tried with some."""
    plugins = [plugin for plugin in all_plugins().plugins if plugin.distribution == "decodebench"]
    names = [name for plugin in plugins for name in plugin.provides.get("decodebench_backends", ())]
    # servers are tried where there are some, in tests/nightly/test_servers.py
    names = [name for name in names if all_plugins().backends[name].residence == "in-process"]
    named = {name: {"backend": name} for name in names} | FURTHER
    return [
        pytest.param(case, id=name, marks=() if name == IN_CI else pytest.mark.nightly) for name, case in named.items()
    ]


class TestBuiltInBackends(BackendConformance):
    @pytest.fixture(scope="class", autouse=True, params=cases())
    @classmethod
    def case(cls, request, cache):
        """Hold one case against every rule before the next one, so that it is measured once."""
        suite, case = request.cls, {"model": None, "quantisation": None, "options": {}, **request.param}
        for name, value in case.items():
            setattr(suite, name, value)
        # threads that spin beside other work make everything slow, and nothing more correct
        kind = all_plugins().backends[case["backend"]]
        threads = {"n_threads": 1} if "n_threads" in kind.Options.model_fields else {}
        suite.options = {**threads, **case["options"]}
        suite._subject = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DECODEBENCH_CACHE", str(cache))
            yield
