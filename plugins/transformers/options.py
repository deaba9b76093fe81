"""Options of the backend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ...core.contract.options import BackendOptions

DType = Literal["float32", "bfloat16", "float16"]


class TransformersOptions(BackendOptions):
    """What changes the speed or the numbers of a PyTorch model."""

    dtype: DType = Field("float32", description="number format of weights and activations")
    attention: Literal["sdpa", "eager"] = Field("sdpa", description="fused attention, or plain matrix products")
    cache: Literal["dynamic", "static"] = Field("dynamic", description="KV cache that grows, or is allocated once")
    compile: bool = Field(False, description="torch.compile for decode steps; needs cache=static and a C++ compiler")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")

    @model_validator(mode="after")
    def _check(self) -> TransformersOptions:
        if self.compile and self.cache != "static":
            raise ValueError("compile=true needs cache=static: a growing cache would be compiled anew at every length")
        return self
