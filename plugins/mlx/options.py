"""Options of the backend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.contract.options import BackendOptions


class MlxOptions(BackendOptions):
    """What changes the speed or the numbers of an MLX model."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="number format of activations, of unquantised weights and of 3bit to 8bit's scales"
    )
    prefill_chunk: int = Field(2048, ge=1, description="prompt tokens per forward pass")
