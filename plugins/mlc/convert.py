"""From a Hugging Face checkpoint to MLC's weights, as ``mlc_llm convert_weight`` makes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ... import ModelError
from ...core.sdk.checkpoint import Checkpoint
from . import tensor_cache
from .config import CHAT_CONFIG, Model, chat_config, stop_ids
from .folding import factor
from .groups import quantise
from .quantisations import model_dtype
from .relax.model import TABLE, weight_name

if TYPE_CHECKING:
    import numpy as np

CONVERTER_VERSION = "1"
"""Raised when the same checkpoint would be written in another way."""

_PARTS = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


def write_folder(checkpoint: Checkpoint, model: Model, quantisation: str, folder: Path) -> None:
    """Write the whole model in MLC's format into an empty folder.

    Raises:
        ModelError: a tensor is missing or has the wrong shape; names it.
    """
    parameters = sum(n * k for n, k in model.decoder.matrices().values())
    tensor_cache.write(folder, _tensors(checkpoint, model, quantisation), parameters)
    config = chat_config(model, quantisation, stop_ids(checkpoint.config))
    (folder / CHAT_CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    for name in _TOKENIZER_FILES:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / name)


def _tensors(checkpoint: Checkpoint, model: Model, quantisation: str) -> Iterator[tuple[str, np.ndarray]]:
    decoder, form, plain = model.decoder, model.decoder.form, model_dtype(quantisation)
    for name, (n, k) in decoder.matrices().items():
        matrix = _joined(checkpoint, f"{name}.weight", (n, k), decoder.heads.dim)
        stored = model.fused_name(name)
        if form.is_grouped:
            words, scales = quantise(matrix.astype(plain).astype("float32"), form)
            yield weight_name(stored, form), words
            yield f"{stored}.q_scale", scales
        else:
            yield weight_name(stored, form), matrix.astype(form.dtype)
    for name, shape in decoder.vectors().items():
        if name != TABLE:
            yield model.fused_name(name), _joined(checkpoint, name, shape, decoder.heads.dim).astype(plain)


def _joined(checkpoint: Checkpoint, name: str, shape: tuple[int, ...], head_dim: int) -> np.ndarray:
    """Return a tensor in float32; fused ones are made of their parts, row below row, unless they are stored so."""
    import numpy as np

    module = name.split(".")[-2]
    if name in checkpoint.tensors:
        names = [name]
    elif module == "lm_head":  # tied in the checkpoint, and not in the network
        names = ["model.embed_tokens.weight"]
    else:
        names = [name.replace(module, part) for part in _PARTS.get(module, (module,))]
    missing = next((part for part in names if part not in checkpoint.tensors), None)
    if missing is not None:
        raise ModelError(f"{checkpoint.folder}: tensor {missing!r} is missing", code="weights-mismatch")
    wanted = names if module != "lm_head" else [name]
    factors = [factor(checkpoint.config, part, head_dim) for part in wanted]
    parts = [checkpoint.tensors[part].read() for part in names]
    found = np.concatenate([p if f == 1 else p * np.float32(f) for p, f in zip(parts, factors, strict=True)])
    if found.shape != shape:
        raise ModelError(
            f"{checkpoint.folder}: {' + '.join(names)} has shape {found.shape}; expected {shape}",
            code="weights-mismatch",
        )
    return found
