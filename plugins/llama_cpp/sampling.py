"""The engine's sampler chain for one request."""

from __future__ import annotations

from typing import Any

from ...core.contract.generation import Request

_RANDOM_SEED = 0xFFFFFFFF
"""The engine takes this one to mean: draw a seed."""


def new_chain(request: Request) -> Any:  # noqa: ANN401 - a C pointer
    """Return a chain of temperature, top-k, top-p and a seeded draw, in that order; the caller frees it."""
    import llama_cpp

    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_temp(request.temperature))
    if request.top_k > 0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_top_k(request.top_k))
    if request.top_p < 1.0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_top_p(request.top_p, 1))
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(request.seed % _RANDOM_SEED))
    return chain
