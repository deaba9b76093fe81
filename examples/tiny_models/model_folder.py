"""Writing of model folders as Hugging Face libraries read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import END_ID, PAD_ID
from decodebench.plugins.reference.shapes import Shape

from .network import Weights
from .tokenizer import write_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def write_model(folder: Path, weights: Weights, shape: Shape, tokenizer: Tokenizer) -> None:
    """Write a Hugging Face model folder: weights, configuration, generation defaults and tokenizer."""
    write_checkpoint(folder, weights, shape)
    generation = {"do_sample": False, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, tokenizer)


def write_checkpoint(folder: Path, weights: Weights, shape: Shape) -> None:
    """Write float16 weights and their configuration."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner alone
    config = shape.hf_config(eos_token_id=END_ID, pad_token_id=PAD_ID, dtype="float16")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
