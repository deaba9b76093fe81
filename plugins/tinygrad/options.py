"""Options of the backend."""

from __future__ import annotations

from pydantic import Field, field_validator

from ...core.contract.options import BackendOptions


class TinygradOptions(BackendOptions):
    """What tinygrad lets one choose and what changes its speed."""

    n_threads: int | None = Field(
        None, ge=1, description="CPU threads of a kernel; by default one per physical core that is free"
    )
    jit: bool = Field(True, description="replay captured kernels; without it every step is scheduled anew")
    beam: int = Field(
        0, ge=0, description="width of the beam search over kernel variants; 0 takes tinygrad's heuristic"
    )
    renderer: str | None = Field(
        None,
        min_length=1,
        description="tinygrad's code generator for the device, such as LLVM or X86 on the CPU; by default its first "
        "(clang on the CPU)",
    )
    prefill_chunk: int = Field(32, ge=2, description="prompt tokens evaluated at once; the last chunk is padded")
    n_ctx: int | None = Field(
        None, ge=2, description="positions of the KV cache; by default what the model was trained for, at most 2048"
    )

    @field_validator("renderer")
    @classmethod
    def _upper(cls, value: str | None) -> str | None:
        return value and value.upper()
