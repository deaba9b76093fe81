"""SmolLM2 135M from its published file (q4_1): one checkpoint in every engine, and what each format loses."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from decodebench import ModelCache
from decodebench.core.sdk.gguf.folder import as_folder
from decodebench.core.sdk.models import resolve

from .conftest import PROMPTS, TOKENS

ENGINES = ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx", "draft-target")
_MODULES = ("torch", "transformers", "llama_cpp", "gguf", "tinygrad", "tvm", "mlx_lm")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(2700),
    pytest.mark.skipif(any(find_spec(name) is None for name in _MODULES), reason="an engine is missing"),
]
FLOAT32 = ("--set", "kv_cache_type=f32", "--set", "flash_attention=off", "--set", "drafter=prompt-lookup")
FORMATS = {"f16": 16.1, "bf16": 16.1, "q8_0": 8.51, "q6_k": 8.12, "q4_k_m": 6.17, "q4_0": 5.35, "q2_k": 5.14}
"""Measured bits per weight; rows of 576 do not fill the blocks of the K formats."""


def _parity(cli, folder, *words):
    limit = ("--samples", PROMPTS, "--max-new-tokens", TOKENS, "--timeout", 1800)
    ended = cli("parity", *words, *limit, "-o", folder, "--json", timeout=2600)
    assert ended.code == 0, ended.err
    return {(row["cell"]["backend"], row["cell"]["quantisation"]): row for row in ended.json["rows"]}


def test_float32_gives_the_same_tokens_in_every_engine(cli, tmp_path, smollm2, prompts):
    chosen = [word for name in ENGINES for word in ("-b", name)]
    rows = _parity(cli, tmp_path, *chosen, "-q", "fp32", *FLOAT32, "-m", smollm2, "--task", prompts)
    assert {backend for backend, _ in rows} == set(ENGINES)
    verdicts = {backend: row["verdict"] for (backend, _), row in rows.items()}
    assert set(verdicts.values()) <= {"reference", "identical", "ties only"}, verdicts


def test_the_published_file_runs_as_it_is(cli, tmp_path, smollm2, prompts):
    rows = _parity(cli, tmp_path, "-b", "transformers", "-b", "llama-cpp", "-m", smollm2, "--task", prompts)
    row = rows["llama-cpp", "q4_1"]
    # the weights are the same numbers; only what is multiplied with them is rounded to 8 bits
    assert row["kl_mean"] < 0.01


def test_formats_lose_little_and_in_order(cli, tmp_path, smollm2, prompts, cache):
    folder = as_folder(resolve(str(smollm2), {}, ModelCache(cache)), ModelCache(cache)).path
    chosen = [word for name in FORMATS for word in ("-q", f"llama-cpp:{name}")]
    words = ("-b", "transformers", "-b", "llama-cpp", "-q", "transformers:none", *chosen, "-m", folder)
    rows = _parity(cli, tmp_path, *words, "--set", "kv_cache_type=f32", "--task", prompts)
    losses = {name: rows["llama-cpp", name]["kl_mean"] for name in FORMATS}
    assert losses["f16"] < losses["bf16"] < losses["q8_0"] < losses["q6_k"] < losses["q4_k_m"] < losses["q2_k"]
    assert losses["f16"] < 1e-4 and losses["q4_k_m"] < 0.1
    for name, bits in FORMATS.items():
        measured = rows["llama-cpp", name]["cell"]["bits_per_weight"]
        assert measured == pytest.approx(bits, abs=0.15), name
