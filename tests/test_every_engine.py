"""One checkpoint through every engine in float32: the same tokens, whoever computes them."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

ENGINES = {"transformers": "none", "llama-cpp": "f32", "tinygrad": "float32", "mlc": "q0f32", "mlx": "none"}
_MODULES = ("torch", "transformers", "llama_cpp", "tinygrad", "tvm", "mlx_lm")
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in _MODULES) or shutil.which("clang") is None, reason="an engine is missing"
)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "prompts",
    [
        pytest.param(3, marks=pytest.mark.timeout(600)),
        pytest.param(64, marks=[pytest.mark.nightly, pytest.mark.timeout(1200)]),
    ],
)
def test_float32_gives_the_same_tokens_everywhere(cli, tmp_path, prompts):
    chosen = [word for name in ENGINES for word in ("-b", name)]
    formats = [word for name in ("none", "f32", "float32", "q0f32") for word in ("-q", name)]
    # llama.cpp keeps keys and values in float16 unless told otherwise
    options = ("--set", "kv_cache_type=f32", "--set", "flash_attention=off")
    workload = ("-m", "tiny:target", "--task", "tiny-gsm", "--samples", prompts)
    ended = cli("parity", *chosen, *formats, *options, *workload, "-o", tmp_path, "--json", timeout=1100)
    assert ended.code == 0, ended.err
    rows = ended.json["rows"]
    assert {(row["cell"]["backend"], row["cell"]["quantisation"]) for row in rows} >= set(ENGINES.items())
    assert all(row["verdict"] in ("reference", "identical", "ties only") for row in rows)
