"""The configuration of a target, read and checked without opening its weights."""

from __future__ import annotations

from pathlib import Path

from ...core.checkpoint import Checkpoint
from ...core.decoder_config import DecoderConfig
from ...core.errors import ModelError
from ...core.torch_layers.rotary import check_rotary


def read_target_config(folder: Path) -> DecoderConfig:
    """Read and check a target's configuration.

    Raises:
        ModelError: no folder of the Llama, Qwen2 or Qwen3 family, or a feature that is not supported.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no Hugging Face folder (config.json and safetensors)")
    config = DecoderConfig.read(Checkpoint(folder))
    check_rotary(config, str(folder / "config.json"))
    return config
