"""Weight formats, and the folders that hold converted weights."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import ModelError
from ...core.contract.model import FLOAT_FORMATS, Quantisation, ResolvedModel
from ...core.sdk.checkpoint import has_weight_files, read_json, read_tensors
from ...core.sdk.decoder_config import has_own_head
from ...core.sdk.hugging_face import FOR_OTHER_ENGINES, weights_view
from ...core.sdk.stored_weights import StoredWeights, stored_weights

if TYPE_CHECKING:
    import mlx.nn as nn

CONVERTER_VERSION = "1"

_GROUP = 64
_AFFINE = {f"{bits}bit": bits for bits in (8, 6, 5, 4, 3)}
_FLOAT = {"mxfp8": (8, 32, "8-bit floats"), "mxfp4": (4, 32, "4-bit floats"), "nvfp4": (4, 16, "4-bit floats")}

QUANTISATIONS = (
    Quantisation("none", 32.0, "weights as the dtype option says (32 bits at its default)", common=FLOAT_FORMATS),
    *(
        # a scale and an offset in the dtype for each group
        Quantisation(name, bits + 2 * 32 / _GROUP, f"{bits} bits, groups of {_GROUP} with scale and offset as dtype")
        for name, bits in _AFFINE.items()
    ),
    *(
        Quantisation(name, bits + 8 / group, f"{words}, groups of {group} with an 8-bit scale")
        for name, (bits, group, words) in _FLOAT.items()
    ),
)

_READ = ("MLX", "awq", "bitnet", "compressed-tensors", "fp8", "gptq", "modelopt", "mxfp4", "mxfp8")
"""What may have quantised the weights of a folder."""


def nominal_bytes(quantisation: str, weights: int) -> int:
    """Return about how many bytes so many weights take in a format that is made."""
    bits = next(each.bits_per_weight for each in QUANTISATIONS if each.name == quantisation)
    assert bits is not None
    return int(weights * bits / 8)


def refuse_unknown(model: ResolvedModel) -> None:
    """Raise ``ModelError`` where mlx-lm has no module for a model's type; read from its files, unimported."""
    spec = find_spec("mlx_lm")
    if spec is None or spec.origin is None or not (model.path / "config.json").is_file():
        return
    package, kind = Path(spec.origin).parent, str(read_json(model.path / "config.json").get("model_type"))
    other = re.search(rf'^    "{re.escape(kind)}": "(\w+)",', (package / "utils.py").read_text(), re.MULTILINE)
    module = other[1] if other else kind
    if not module.isidentifier() or not (package / "models" / f"{module}.py").is_file():
        raise ModelError(
            f"{model.path}: mlx-lm {version('mlx-lm')} has no model of type {kind!r}. {FOR_OTHER_ENGINES}",
            code="model-unsupported",
        )
    _refuse_eight_bit_floats(model.path)


def stored_as(model: ResolvedModel, quantisation: str) -> StoredWeights | None:
    """Return how a model's weights are quantised already; None where they are not.

    Raises:
        ModelError: in a way that mlx-lm does not read, or another format was asked for.
    """
    stored = stored_weights(read_json(model.path / "config.json"))
    if stored is None:
        return None
    if stored.method not in _READ:
        raise ModelError(
            f"{model.path}: its weights are {stored.words}, which mlx-lm does not read; it reads {', '.join(_READ)}",
            code="quantisation-unsupported",
        )
    own = next((each.name for each in QUANTISATIONS if each.name == stored.format), QUANTISATIONS[0].name)
    if quantisation != own:
        raise ModelError(
            f"{model.path}: its weights are {stored.words}, not {quantisation}: ask for {own}",
            code="quantisation-unsupported",
        )
    return stored


def _refuse_eight_bit_floats(folder: Path) -> None:
    """Raise ``ModelError`` for floats of 8 bits and less, whose bytes MLX reads as integers unless they have scales."""
    config = read_json(folder / "config.json")
    if config.get("quantization") or config.get("quantization_config") or not has_weight_files(folder):
        return
    for tensor in read_tensors(folder):
        if tensor.dtype.startswith(("F4", "F6", "F8")):
            raise ModelError(
                f"{tensor.path}: tensor {tensor.name!r} has dtype {tensor.dtype}, which MLX reads as integers; "
                "save the model in F32, F16 or BF16",
                code="model-unsupported",
            )


def open_weights(folder: Path, dtype: str) -> tuple[nn.Module, dict[str, Any]]:
    """Open a model lazily, its floating-point weights in ``dtype``; no code of the model's is run.

    Raises:
        ModelError: mlx-lm does not know the architecture, or the weights are not the ones that it has.
    """
    import mlx.core as mx
    from mlx_lm.utils import load_model

    try:
        with weights_view(folder) as place:
            model, config = load_model(place, lazy=True, model_config=_rotary_fields(folder) | _own_head(folder))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{folder}: mlx-lm cannot load it: {' '.join(str(error).split())[:300]}", code="load-failed"
        ) from error
    model.set_dtype(getattr(mx, dtype))
    return model, config


def _rotary_fields(folder: Path) -> dict[str, Any]:
    """Return rotary settings under the names that they had before transformers 5.

    Most models of mlx-lm 0.32 know these alone, and take a base of their own where they find none.
    """
    config = read_json(folder / "config.json")
    stored = config.get("rope_parameters")
    if not isinstance(stored, dict) or "rope_theta" not in stored:
        return {}
    scaling = {} if stored.get("rope_type", "default") == "default" else {"rope_scaling": stored}
    return {"rope_theta": stored["rope_theta"], **scaling}


def _own_head(folder: Path) -> dict[str, Any]:
    """Return that the output layer is not the embedding, where the weights say so: mlx-lm would drop it."""
    stored = {tensor.name: tensor for tensor in read_tensors(folder)}
    return {"tie_word_embeddings": False} if has_own_head(stored) else {}


def write_quantised(source: Path, quantisation: str, dtype: str, folder: Path) -> None:
    """Convert a model into MLX's format."""
    from mlx_lm.utils import quantize_model, save_config, save_model

    model, config = open_weights(source, dtype)
    bits, group = (_AFFINE[quantisation], _GROUP) if quantisation in _AFFINE else _FLOAT[quantisation][:2]
    mode = "affine" if quantisation in _AFFINE else quantisation
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it does there
        model, config = quantize_model(model, config, group, bits, mode=mode)
    save_model(folder, model)
    save_config(config, folder / "config.json")


def left_as_they_are(model: nn.Module, dtype: str) -> str | None:
    """Say how many matrices of a quantised model are not quantised, as their rows are no multiple of a group."""
    import mlx.nn as nn

    kinds = (nn.Linear, nn.Embedding)
    quantised = (nn.QuantizedLinear, nn.QuantizedEmbedding)
    modules = [module for module in model.modules() if isinstance(module, (*kinds, *quantised))]
    whole = sum(isinstance(module, kinds) for module in modules)
    return f"{whole} of {len(modules)} matrices stay in {dtype}: no whole groups to a row" if whole else None


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all weights, scales included."""
    from mlx.utils import tree_flatten

    return sum(int(array.nbytes) for _, array in tree_flatten(model.parameters()))
