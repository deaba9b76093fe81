"""Options of the backend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ...core.contract.options import BackendOptions

Switch = Literal["auto", "on", "off"]
KvType = Literal["f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


class LlamaCppOptions(BackendOptions):
    """What llama.cpp lets one choose and what changes its speed."""

    n_threads: int | None = Field(
        None, ge=1, description="CPU threads for prefill and decode; by default one per physical core that is free"
    )
    n_batch: int = Field(2048, ge=1, description="prompt tokens handed to the engine in one call")
    n_ubatch: int = Field(512, ge=1, description="prompt tokens the engine computes at once")
    n_ctx: int | None = Field(
        None,
        ge=1,
        description="positions of the KV cache; by default 2048 at load, doubled when a request needs more, "
        "at most what the model was trained for",
    )
    flash_attention: Switch = Field("auto", description="fused attention; auto leaves it to the engine")
    kv_cache_type: KvType = Field("f16", description="number format of the KV cache, keys and values alike")
    mmap: bool = Field(True, description="map the weights from the file rather than read them into memory")
    n_gpu_layers: int | None = Field(
        None, ge=0, description="layers placed on the GPU device; by default all; only with a GPU device"
    )
    extra_buffers: Switch = Field(
        "auto",
        description="weights repacked for the CPU's matrix instructions; auto tries it once per machine in a "
        "process of its own, since it crashes on virtual machines that promise AMX and lack it",
    )

    @model_validator(mode="after")
    def _consistent(self) -> LlamaCppOptions:
        if self.n_ubatch > self.n_batch:
            raise ValueError(f"n_ubatch={self.n_ubatch} exceeds n_batch={self.n_batch}")
        if self.kv_cache_type[0] == "q" and self.flash_attention == "off":
            raise ValueError(f"kv_cache_type={self.kv_cache_type!r} needs flash_attention 'on' or 'auto'")
        return self
