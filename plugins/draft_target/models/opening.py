"""Choosing the engine for a model and opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .... import ModelError
from ....core.sdk.decoder_config import ARCHITECTURES
from . import CausalModel

Engine = Literal["auto", "own", "transformers"]


def open_model(
    folder: Path, architecture: str | None, engine: Engine, dtype: str, device: str, *, is_compiled: bool
) -> CausalModel:
    """Open a model.

    Args:
        folder: a Hugging Face folder.
        architecture: ``architectures[0]`` of its configuration.
        engine: ``own`` layers, ``transformers``, or ``auto``: the own layers for the architectures that they know and
            transformers for the others and for what they refuse.
        dtype: number format of weights and activations.
        device: where it runs.
        is_compiled: use torch.compile.

    Raises:
        ModelError: the folder cannot be opened.
    """
    import torch

    from .hugging_face import HuggingFace
    from .own_layers import OwnLayers

    if engine == "own" or (engine == "auto" and architecture in ARCHITECTURES):
        try:
            return OwnLayers(folder, getattr(torch, dtype), device, is_compiled=is_compiled)
        except ModelError:
            if engine == "own":
                raise
    return HuggingFace(folder, dtype, device, is_compiled=is_compiled)
