"""A published model through the servers that people deploy, at three loads, beside the engines in process."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from ..nightly.served import compared, llama_server, same, vllm_server
from .conftest import PROMPTS

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(find_spec("llama_cpp") is None or find_spec("aiohttp") is None, reason="an engine is missing"),
]
TOKENS = 16  # vLLM's build for CPUs takes a second and more for each in float32


@pytest.mark.parametrize("server", ["llama-server", "vllm"])
def test_a_server_gives_the_tokens_of_the_engines(cli, tmp_path, smollm2, server):
    command = {"llama-server": llama_server, "vllm": vllm_server}[server]()
    work = ["-m", smollm2, "-q", "fp32", "-q", "vllm:none", "--prompt-tokens", 32, "--output-tokens", TOKENS]
    work += ["--samples", PROMPTS, "--rounds", 1, "--timeout", 1500]
    formats = [word for word in work if server == "vllm" or word != "vllm:none"]
    if server != "vllm":
        formats.remove("-q")
    ids = compared(cli, tmp_path, {server: command}, formats)
    assert set(same(ids).values()) == {PROMPTS}
