"""Options of the backend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.contract.options import BackendOptions


class VllmOptions(BackendOptions):
    """What changes the speed or the numbers of vLLM's engine."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of weights and activations; auto: that of the model's files"
    )
    enforce_eager: bool = Field(False, description="run without compiled graphs")
    max_model_len: int | None = Field(None, ge=1, description="longest sequence in tokens; by default the model's own")
    max_num_seqs: int = Field(64, ge=1, le=64, description="rows that run together at most")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that it may take")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")
