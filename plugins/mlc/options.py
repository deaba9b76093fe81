"""Options of the backend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.contract.options import BackendOptions


class MlcOptions(BackendOptions):
    """What changes the speed of a compiled model."""

    engine: Literal["auto", "tvm", "mlc_llm"] = Field(
        "auto", description="mlc_llm is MLC-LLM itself, tvm our own CPU schedule; auto takes mlc_llm where installed"
    )
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")
    prefill_chunk: int = Field(512, ge=16, le=8192, description="most prompt tokens in one pass")
