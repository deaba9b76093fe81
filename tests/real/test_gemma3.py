"""Gemma 3 270M from its published file (q4_k_m): llama.cpp, transformers and MLX on the same weights."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from .conftest import PROMPTS, TOKENS

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("torch", "transformers", "llama_cpp", "gguf", "mlx_lm")),
        reason="an engine is missing",
    ),
]


def test_three_engines_agree_on_its_float32_weights(cli, tmp_path, gemma3, prompts):
    engines = ("-b", "transformers", "-b", "llama-cpp", "-b", "mlx", "-q", "fp32")
    exact = ("--set", "kv_cache_type=f32", "--set", "flash_attention=off")
    limit = ("--samples", PROMPTS, "--max-new-tokens", min(TOKENS, 64), "--timeout", 1200)
    words = (*engines, *exact, "-m", gemma3, "--task", prompts, *limit, "-o", tmp_path, "--json")
    ended = cli("parity", *words, timeout=1700)
    assert ended.code in (0, 3), ended.err  # 3: other tokens than ties explain, as is expected of these
    rows = {row["cell"]["backend"]: row for row in ended.json["rows"]}
    assert rows.keys() == {"transformers", "llama-cpp", "mlx"}
    # GELU from a table of 16-bit floats, and a rounded scale of the embeddings
    assert rows["llama-cpp"]["kl_mean"] < 1e-4 and rows["mlx"]["kl_mean"] < 1e-2
    assert min(row["top1_agreement"] for name, row in rows.items() if name != "transformers") > 0.97
