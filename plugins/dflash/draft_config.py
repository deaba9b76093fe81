"""The configuration of a DFlash draft (arXiv 2602.06036), and whether it fits a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import ModelError
from ...core.sdk.checkpoint import Checkpoint
from ...core.sdk.decoder_config import DecoderConfig
from ...core.sdk.torch_layers.rotary import check_rotary
from .draft_attention import read_views
from .draft_fields import ARCHITECTURE, check_fields


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """What ``config.json`` of a draft says.

    Attributes:
        decoder: sizes of the draft's own layers, those of a Qwen3 decoder.
        block_size: block length that it was trained with, anchor included.
        target_layers: depth of its target; None where the file does not say.
        target_layer_ids: target layers, from 0, whose outputs it conditions on.
        mask_token_id: id that stands for a position to be drafted.
        causal: whether a token of each layer sees no token behind it.
        windows: sliding window of each layer; None sees everything.
        file: the file, for messages.
    """

    decoder: DecoderConfig
    block_size: int
    target_layers: int | None
    target_layer_ids: tuple[int, ...]
    mask_token_id: int
    causal: tuple[bool, ...]
    windows: tuple[int | None, ...]
    file: Path

    @classmethod
    def read(cls, folder: Path) -> DraftConfig:
        """Read and check a draft's configuration.

        Newer checkpoints keep keys in ``dflash_config``, older ones beside it; the nested ones win, but for the
        block size.

        Raises:
            ModelError: no DFlash draft, or a key is missing or impossible; names file, key and value.
        """
        checkpoint = Checkpoint(folder)
        file = folder / "config.json"
        config = checkpoint.config
        check_fields(config, file)
        nested = checkpoint.field("dflash_config", dict, {})
        decoder = DecoderConfig.read(checkpoint, {ARCHITECTURE: "qwen3"}, has_windows=True)
        check_rotary(decoder, str(file))
        causal, windows = read_views(checkpoint, nested, decoder.layers)
        target_layers = checkpoint.field("num_target_layers", int, -1) if "num_target_layers" in config else None
        layer_ids = _ids(_first("target_layer_ids", nested, config), file, target_layers, decoder.layers)
        mask = _first("mask_token_id", nested, config)
        if not isinstance(mask, int) or not 0 <= mask < decoder.vocab:
            raise ModelError(
                f"{file}: dflash_config.mask_token_id = {mask!r}: must be an id below vocab_size = {decoder.vocab}",
                code="model-config-invalid",
            )
        block = _first("block_size", config, nested)
        if not isinstance(block, int) or block < 2:
            raise ModelError(
                f"{file}: block_size = {block!r}: must be an integer of at least 2", code="model-config-invalid"
            )
        return cls(
            decoder=decoder,
            block_size=block,
            target_layers=target_layers,
            target_layer_ids=layer_ids,
            mask_token_id=mask,
            causal=causal,
            windows=windows,
            file=file,
        )

    def check_target(self, target: DecoderConfig, target_file: Path) -> None:
        """Raise ``ModelError`` when this is a draft for another target; names both files' values."""
        own = self.decoder
        pairs = (("hidden_size", own.width, target.width), ("vocab_size", own.vocab, target.vocab))
        for field, mine, other in pairs:
            if mine != other:
                raise ModelError(
                    f"{self.file}: {field} = {mine}, but {target_file} has {other}: it is a draft for another target",
                    code="model-mismatch",
                )
        if self.target_layers not in (None, target.layers):
            raise ModelError(
                f"{self.file}: num_target_layers = {self.target_layers}, but {target_file} has num_hidden_layers = "
                f"{target.layers}: it is a draft for another target",
                code="model-mismatch",
            )
        if max(self.target_layer_ids) >= target.layers:
            raise ModelError(
                f"{self.file}: dflash_config.target_layer_ids = {list(self.target_layer_ids)}: the target in "
                f"{target_file} has layers 0 to {target.layers - 1} only",
                code="model-mismatch",
            )


def _first(key: str, *places: dict[str, Any]) -> Any:  # noqa: ANN401 - a JSON value
    return next((place[key] for place in places if place.get(key) is not None), None)


def published_layer_ids(target_layers: int, draft_layers: int) -> list[int]:
    """Return what the published loader takes where a checkpoint names no layers: evenly spaced ones.

    It is wrong for most published checkpoints, which all name theirs, so here it only serves the error message.
    """
    if draft_layers == 1:
        return [target_layers // 2]
    return [round(1 + at * (target_layers - 4) / (draft_layers - 1)) for at in range(draft_layers)]


def _ids(
    value: Any,  # noqa: ANN401 - a JSON value
    file: Path,
    target_layers: int | None,
    draft_layers: int,
) -> tuple[int, ...]:
    if value is None:
        guess = (
            f" (the published loader would guess {published_layer_ids(target_layers, draft_layers)})"
            if target_layers
            else ""
        )
        raise ModelError(
            f"{file}: dflash_config.target_layer_ids is missing; no formula gives the layers that a draft was trained "
            f"on, so they must be stated{guess}",
            code="model-config-invalid",
        )
    if not isinstance(value, list) or not value or not all(isinstance(i, int) and i >= 0 for i in value):
        raise ModelError(
            f"{file}: dflash_config.target_layer_ids = {value!r}: must be a list of layer numbers from 0",
            code="model-config-invalid",
        )
    return tuple(value)
