"""Into the paged KV cache: fused queries, keys and values taken apart, and new positions appended.

The functions have the signatures that TVM's ``paged_attention_kv_cache_create`` calls.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .heads import PAGE, Heads

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


@cache
def split(heads: Heads) -> PrimFunc:
    """Return the kernel that takes fused qkv apart; positions are applied before the cache sees it."""
    from tvm.script import tirx as T

    queries, keys, dim = heads.queries, heads.keys, heads.dim

    @T.prim_func(s_tir=True, private=True)
    def kernel(fused: T.handle, positions: T.handle, qs: T.handle, ks: T.handle, vs: T.handle, apply_rope: T.int64):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        n = T.int32()
        offset = T.int32()
        QKV = T.match_buffer(fused, (n, queries + 2 * keys, dim), "float32")
        P = T.match_buffer(positions, (n,), "int32", elem_offset=offset)
        Q = T.match_buffer(qs, (n, queries, dim), "float32")
        K = T.match_buffer(ks, (n, keys, dim), "float32")
        V = T.match_buffer(vs, (n, keys, dim), "float32")
        for i in T.serial(n):
            with T.sblock("token"):
                for h in T.serial(queries):
                    for v in T.vectorized(dim):
                        Q[i, h, v] = QKV[i, h, v]
                for h in T.serial(keys):
                    for v in T.vectorized(dim):
                        K[i, h, v] = QKV[i, queries + h, v]
                    for v in T.vectorized(dim):
                        V[i, h, v] = QKV[i, queries + keys + h, v]

    return kernel


@cache
def append(heads: Heads) -> PrimFunc:
    """Return the kernel that writes new keys (transposed) and values into their pages."""
    from tvm.script import tirx as T

    keys, dim = heads.keys, heads.dim

    @T.prim_func(s_tir=True, private=True)
    def kernel(pages: T.handle, ks: T.handle, vs: T.handle, slots: T.handle):
        T.func_attr({"tirx.is_scheduled": True, "tirx.noalias": True})
        n = T.int64()
        count = T.int64()
        page_offset = T.int64()
        slot_offset = T.int32()
        PAGES = T.match_buffer(pages, (count, 2, keys, PAGE, dim), "float32", elem_offset=page_offset)
        K = T.match_buffer(ks, (n, keys, dim), "float32")
        V = T.match_buffer(vs, (n, keys, dim), "float32")
        SLOTS = T.match_buffer(slots, (n,), "int32", elem_offset=slot_offset)
        for i in T.serial(n):
            if SLOTS[i] != -1:
                with T.sblock("token"):
                    page: T.let[T.int32] = SLOTS[i] // PAGE
                    at: T.let[T.int32] = SLOTS[i] % PAGE
                    for h in T.serial(keys):
                        for d in T.serial(dim):
                            PAGES[page, 0, h, (d * PAGE + at) // dim, (d * PAGE + at) % dim] = K[i, h, d]
                        for v in T.vectorized(dim):
                            PAGES[page, 1, h, at, v] = V[i, h, v]

    return kernel
