"""Untrained models of any size, made on the fly from a seed: they answer nothing, but they cost what a real one costs.

They are ordinary Hugging Face folders with float16 weights N(0, 0.02) and the tiny family's tokenizer; all row
lengths are multiples of 256, so that k-quants fit. numpy suffices to make them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import unknown_name
from .family import END_ID, PAD_ID, WEIGHTS_FOLDER
from .shapes import BlockDiffusionShape, DraftShape, Shape, without_head_norms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STD = 0.02


@dataclass(frozen=True, slots=True)
class RandomModel:
    """An untrained model: its size and in which respects its architecture differs from Qwen3."""

    summary: str
    shape: Shape
    model_type: str = "qwen3"
    architecture: str = "Qwen3ForCausalLM"
    has_head_norms: bool = True
    has_biases: bool = False
    is_tied: bool = True

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name every weight with its dimensions."""
        sizes = self.shape.tensors()
        if not self.has_head_norms:
            sizes = without_head_norms(sizes)
        if self.has_biases:
            projections = [(name, size) for name, size in sizes.items() if name.endswith(_BIASED)]
            sizes |= {name.removesuffix("weight") + "bias": size[:1] for name, size in projections}
        if not self.is_tied:
            sizes["lm_head.weight"] = (self.shape.vocab, self.shape.hidden)
        return sizes

    def config(self) -> dict[str, Any]:
        """Return its `config.json`."""
        config = self.shape.hf_config(eos_token_id=END_ID, pad_token_id=PAD_ID, dtype="float16")
        config |= {"architectures": [self.architecture], "model_type": self.model_type}
        if self.model_type == "qwen2":
            del config["attention_bias"], config["head_dim"]  # Qwen2 has no such settings: both are fixed
        return config | {"tie_word_embeddings": self.is_tied}


_BIASED = ("q_proj.weight", "k_proj.weight", "v_proj.weight")
_WIDE = Shape(512, 8, 1536, 8, 4, 8192)

_WIDE_DRAFT = DraftShape(512, 2, 1536, 8, 4, 8192, target_layers=8, taps=(1, 3, 5))
_LARGE_DRAFT = DraftShape(768, 2, 2560, 12, 4, 16384, target_layers=12, taps=(1, 5, 9))

_FAST_DLLM_V2: dict[str, Any] = {
    "model_type": "Fast_dLLM_Qwen",
    "architecture": "Fast_dLLM_QwenForCausalLM",
    "has_head_norms": False,
}

RANDOM_MODELS = {
    "random:qwen3-30m": RandomModel("untrained Qwen3, 29 M parameters, for speed work", _WIDE),
    "random:qwen3-100m": RandomModel(
        "untrained Qwen3, 102 M parameters, for speed work", Shape(768, 12, 2560, 12, 4, 16384)
    ),
    "random:qwen3-30m-dflash": RandomModel(
        "untrained DFlash draft of random:qwen3-30m, 7 M parameters", _WIDE_DRAFT, architecture="DFlashDraftModel"
    ),
    "random:qwen3-100m-dflash": RandomModel(
        "untrained DFlash draft of random:qwen3-100m, 17 M parameters", _LARGE_DRAFT, architecture="DFlashDraftModel"
    ),
    "random:qwen3-30m-draft": RandomModel(
        "untrained draft of random:qwen3-30m for draft-target, 3.7 M parameters", Shape(256, 2, 768, 4, 2, 8192)
    ),
    "random:qwen3-100m-draft": RandomModel(
        "untrained draft of random:qwen3-100m for draft-target, 7.3 M parameters", Shape(256, 4, 768, 4, 2, 16384)
    ),
    "random:qwen2-30m": RandomModel(
        "untrained Qwen2, 29 M parameters, for speed work",
        _WIDE,
        model_type="qwen2",
        architecture="Qwen2ForCausalLM",
        has_head_norms=False,
        has_biases=True,
    ),
    "random:fast-dllm-v2-30m": RandomModel(
        "untrained Fast-dLLM v2 (Qwen2 layers, blocks of 32), 29 M parameters, for speed work",
        BlockDiffusionShape(512, 8, 1536, 8, 4, 8192, block_size=32),
        **_FAST_DLLM_V2,
    ),
    "random:fast-dllm-v2-100m": RandomModel(
        "untrained Fast-dLLM v2 (Qwen2 layers, blocks of 32), 102 M parameters, for speed work",
        BlockDiffusionShape(768, 12, 2560, 12, 4, 16384, block_size=32),
        **_FAST_DLLM_V2,
    ),
    "random:qwen2-100m": RandomModel(
        "untrained Qwen2, 102 M parameters: what random:fast-dllm-v2-100m is without diffusion",
        Shape(768, 12, 2560, 12, 4, 16384),
        model_type="qwen2",
        architecture="Qwen2ForCausalLM",
        has_head_norms=False,
        has_biases=True,
    ),
    "random:llama-30m": RandomModel(
        "untrained Llama with its own output matrix, 30 M parameters, for speed work",
        Shape(512, 7, 1536, 8, 4, 8192),
        model_type="llama",
        architecture="LlamaForCausalLM",
        has_head_norms=False,
        is_tied=False,
    ),
}


def build(name: str, folder: Path) -> None:
    """Write the untrained model called `name` into an existing folder; the bytes are the same every time.

    Raises:
        UsageError: no untrained model has this name.
    """
    model = RANDOM_MODELS.get(name)
    if model is None:
        raise unknown_name("model", name, RANDOM_MODELS, "")
    from safetensors.numpy import save_file

    weights = {part: _draw(name, part, size) for part, size in model.tensors().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner alone
    generation = {"do_sample": False, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    for file, content in (("config.json", model.config()), ("generation_config.json", generation)):
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(WEIGHTS_FOLDER / "target" / file, folder / file)


def _draw(model: str, part: str, size: tuple[int, ...]) -> NDArray[np.float16]:
    """Draw one weight by a seed of its own, so that none depends on the others' order."""
    import numpy as np

    if part.endswith("norm.weight"):
        return np.ones(size, dtype=np.float16)
    seed = int.from_bytes(hashlib.sha256(f"{model}/{part}".encode()).digest()[:4], "big")
    # RandomState, because numpy promises its numbers for ever; those of a Generator may change with a release.
    return (np.random.RandomState(seed).standard_normal(size) * _STD).astype(np.float16)
