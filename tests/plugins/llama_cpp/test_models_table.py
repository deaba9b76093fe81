"""The table in docs/models.md: what each engine makes of ten kinds of folders and files, as `models --check` has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from decodebench.core.api.model_check import check_model

from ..models import TINY
from .conftest import byte_level_tokenizer, save_checkpoint, sentencepiece_tokenizer
from .test_families import FAMILIES
from .test_gguf_files import SPLIT
from .test_prepare import prepare

ROOT = Path(__file__).parents[3]
ENGINES = ("transformers", "llama-cpp", "tinygrad", "mlc", "mlx", "draft-target")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, checkpoints, cache):
    root = tmp_path_factory.mktemp("kinds")

    def family(name, tokenizer):
        kind, changes = FAMILIES[name]
        return save_checkpoint(root / name, kind, tokenizer, **changes)

    return {
        "folder, Qwen 3": TINY,
        "folder in shards, Llama": checkpoints["llama-biased"],
        "folder with `pytorch_model.bin`, Qwen 3": _pickled(root / "pickled"),
        "folder, Gemma 3": (gemma := family("gemma3", sentencepiece_tokenizer())),
        "folder, Qwen 3 MoE": family("qwen3moe", byte_level_tokenizer("qwen2")),
        "folder of an unknown architecture": _renamed(root / "unknown"),
        "`.gguf`, Qwen 3, q4_k_m": shutil.copy(prepare(TINY, "q4_k_m", cache).path, root / "qwen.gguf"),
        "`.gguf`, Gemma 3, q8_0": shutil.copy(prepare(gemma, "q8_0", cache).path, root / "gemma.gguf"),
        "`.gguf` in two parts, Llama, f32": SPLIT,
        "folder in MLC's format, q4f16_1": _mlc(root / "mlc"),
    }


def _pickled(folder):
    import torch
    from safetensors.torch import load_file

    shutil.copytree(TINY, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def _renamed(folder):
    shutil.copytree(TINY, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["NewForCausalLM"], "model_type": "new"})
    )
    return folder


def _mlc(folder):
    from decodebench.core.sdk.checkpoint import Checkpoint
    from decodebench.plugins.mlc.config import from_checkpoint
    from decodebench.plugins.mlc.convert import write_folder

    folder.mkdir()
    checkpoint = Checkpoint(TINY)
    write_folder(checkpoint, from_checkpoint(checkpoint, "q4f16_1"), "q4f16_1", folder)
    return folder


def _cell(verdict) -> str:
    return "no" if verdict.opens == "no" else f"{verdict.opens}: {verdict.formats[0]}"


def test_the_page_has_what_the_command_says(kinds, monkeypatch, cache):
    monkeypatch.setenv("DECODEBENCH_CACHE", str(cache.root))
    before = set(cache.root.glob("folder-*"))
    lines = [f"| model | {' | '.join(ENGINES)} |", f"| --- |{' --- |' * len(ENGINES)}"]
    for name, path in kinds.items():
        found = {verdict.backend: verdict for verdict in check_model(str(path)).backends}
        lines.append(f"| {name} | {' | '.join(_cell(found[engine]) for engine in ENGINES)} |")
    table = "\n".join(lines)
    assert table in (ROOT / "docs" / "models.md").read_text(), f"docs/models.md should have:\n{table}"
    assert set(cache.root.glob("folder-*")) == before, "looking converts nothing"
