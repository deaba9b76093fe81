"""The servers that people deploy, for real: the same prompts as ids give the tokens of the engines in process."""

from __future__ import annotations

import json

import pytest

from .served import compared, llama_server, same, vllm_python, vllm_server

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

WORK = ["-m", "tiny:target", "-q", "f32", "-q", "none", "--task", "tiny-gsm", "--samples", 16, "--rounds", 1]
WORK += ["--max-new-tokens", 24]


def test_llama_server_gives_the_tokens_of_llama_cpp(cli, tmp_path):
    ids = compared(cli, tmp_path, {"llama-server": llama_server()}, WORK)
    assert set(same(ids).values()) == {16}
    checked = cli("plugins", "check", "llama-server", "-m", "tiny:target", "-q", "f32", timeout=1800)
    assert checked.code == 0, checked.out


def test_vllm_on_a_cpu_gives_the_tokens_of_transformers(cli, tmp_path):
    own = f"[backends.vllm-offline]\npython = {json.dumps(vllm_python())}\n"
    beside = ("llama-cpp", "transformers", "vllm-offline")
    ids = compared(cli, tmp_path, {"vllm": vllm_server()}, WORK, beside=beside, config=own)
    assert set(same(ids).values()) == {16}
