"""What each layer of a draft may look at: everything or a window, and within a block both ways or only back.

A layer that ``layer_types`` calls ``sliding_attention`` has the window and, where no field says otherwise, is causal:
the published windowed drafts were trained so. The others see everything both ways. ``is_causal`` (or ``causal`` in
``dflash_config``) decides for all layers; ``use_swa`` gives a draft without such layers a window in every one.
Sources: transformers' Qwen3 configuration for the window, vLLM's and the authors' later loaders for the rest.
"""

from __future__ import annotations

from typing import Any

from ... import ModelError
from ...core.sdk.checkpoint import Checkpoint

_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_views(
    checkpoint: Checkpoint, nested: dict[str, Any], layers: int
) -> tuple[tuple[bool, ...], tuple[int | None, ...]]:
    """Return for each layer whether it is causal, and its window.

    Args:
        checkpoint: the draft.
        nested: its ``dflash_config``.
        layers: how many it has.

    Raises:
        ModelError: fields contradict one another or are impossible; names file, field and value.
    """
    types = _layer_types(checkpoint, layers)
    flags = [_flag(checkpoint, nested, name) for name in ("is_causal", "causal")]
    stated = next((flag for flag in flags if flag is not None), None)
    causal = tuple(kind == _SLIDING if stated is None else stated for kind in types)
    if _flag(checkpoint, nested, "use_swa") and _SLIDING not in types:
        return causal, (_window(checkpoint, nested, "use_swa"),) * layers
    if _SLIDING not in types:
        return causal, (None,) * layers
    window = _window(checkpoint, nested, "layer_types")
    return causal, tuple(window if kind == _SLIDING else None for kind in types)


def _layer_types(checkpoint: Checkpoint, layers: int) -> list[str]:
    """Return the kinds of the layers; without a list transformers gives the window to those behind the first ones."""
    has_window = checkpoint.config.get("use_sliding_window")
    types = checkpoint.config.get("layer_types")
    file = checkpoint.folder / "config.json"
    if has_window not in (None, True, False):
        raise ModelError(
            f"{file}: use_sliding_window = {has_window!r}: must be true or false", code="model-config-invalid"
        )
    if types is None:
        first = checkpoint.field("max_window_layers", int, 28) if has_window else layers
        return [_FULL if at < first else _SLIDING for at in range(layers)]
    if not isinstance(types, list) or len(types) != layers or any(kind not in (_FULL, _SLIDING) for kind in types):
        raise ModelError(
            f"{file}: layer_types = {types!r}: must name {_FULL} or {_SLIDING} for each of {layers} layers",
            code="model-config-invalid",
        )
    if _SLIDING in types and not has_window:
        raise ModelError(
            f"{file}: use_sliding_window = {has_window!r}, but layer_types names {_SLIDING}: the published windowed "
            "drafts have true; with false every layer would have to be full_attention",
            code="model-config-invalid",
        )
    return types


def _flag(checkpoint: Checkpoint, nested: dict[str, Any], name: str) -> bool | None:
    for place, fields in (("", checkpoint.config), ("dflash_config.", nested)):
        value = fields.get(name)
        if value is not None:
            if not isinstance(value, bool):
                raise ModelError(
                    f"{checkpoint.folder / 'config.json'}: {place}{name} = {value!r}: must be true or false",
                    code="model-config-invalid",
                )
            return value
    return None


def _window(checkpoint: Checkpoint, nested: dict[str, Any], asked_by: str) -> int:
    """Return the window; two fields that state it must agree."""
    stated = {
        "sliding_window": checkpoint.config.get("sliding_window"),
        "dflash_config.swa_window_size": nested.get("swa_window_size"),
    }
    given = {name: value for name, value in stated.items() if value is not None}
    values = list(given.values())
    file = checkpoint.folder / "config.json"
    if not given:
        raise ModelError(
            f"{file}: sliding_window = None, but {asked_by} asks for a window", code="model-config-invalid"
        )
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ModelError(
                f"{file}: {name} = {value!r}: must be an integer of at least 1", code="model-config-invalid"
            )
        if value != values[0]:
            raise ModelError(
                f"{file}: {', '.join(f'{n} = {v}' for n, v in given.items())}: two different windows",
                code="model-config-invalid",
            )
    return int(values[0])
