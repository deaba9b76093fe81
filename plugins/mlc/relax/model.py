"""The decoder in Relax, from our kernels, with three entry points.

``prefill(ids, cache, parameters) -> logits [1, V]`` of the last position, ``decode`` likewise for one token, and
``logits(ids, cache, parameters) -> [n, V]`` of every position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from . import decode_attention, elementwise, paged_cache, prefill_attention
from .heads import Heads
from .layout import WeightFormat, lanes_of
from .matmul import matmul

if TYPE_CHECKING:
    from tvm import IRModule, relax

TABLE = "rotary"
"""Name of the parameter that holds cosines and sines by position."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """What the compiled code depends on: shapes and formats, never weights.

    Attributes:
        vocabulary: rows of the embedding.
        width: of the hidden state.
        hidden: width of the feed-forward layer.
        layers: number of layers.
        heads: shape of attention.
        norm_eps: of every norm.
        is_tied: whether the output layer is the embedding.
        has_bias: whether q, k and v have biases.
        query_norm: whether queries and keys are normalised: each head by itself (Qwen3), or whole rows (OLMo 2).
        context: longest sequence, rows of the rotary table.
        form: format of every matrix, the embedding included.
        has_norms_behind: whether a layer normalises what attention and feed-forward give, not what they take (OLMo 2).
        unrotated: layers whose queries and keys know no position (SmolLM3).
    """

    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: Heads
    norm_eps: float
    is_tied: bool
    has_bias: bool
    query_norm: Literal["head", "row"] | None
    context: int
    form: WeightFormat
    has_norms_behind: bool = False
    unrotated: tuple[int, ...] = ()

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of one position's keys and values in all layers; the cache holds float32."""
        return 2 * self.layers * self.heads.keys * self.heads.dim * 4

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return every matrix by name with its shape [N, K], in the order of the parameters."""
        fused = (self.heads.queries + 2 * self.heads.keys) * self.heads.dim
        found = {"model.embed_tokens": (self.vocabulary, self.width)}
        for i in range(self.layers):
            layer = f"model.layers.{i}"
            found[f"{layer}.self_attn.qkv_proj"] = (fused, self.width)
            found[f"{layer}.self_attn.o_proj"] = (self.width, self.heads.queries * self.heads.dim)
            found[f"{layer}.mlp.gate_up_proj"] = (2 * self.hidden, self.width)
            found[f"{layer}.mlp.down_proj"] = (self.width, self.hidden)
        if not self.is_tied:
            found["lm_head"] = (self.vocabulary, self.width)
        return found

    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Return every float32 parameter by name with its shape."""
        fused = (self.heads.queries + 2 * self.heads.keys) * self.heads.dim
        found: dict[str, tuple[int, ...]] = {TABLE: (self.context, self.heads.dim), "model.norm.weight": (self.width,)}
        for i in range(self.layers):
            layer = f"model.layers.{i}"
            found.update({f"{layer}.{norm}.weight": (self.width,) for norm in self.norms})
            if self.has_bias:
                found[f"{layer}.self_attn.qkv_proj.bias"] = (fused,)
            if self.query_norm is not None:
                queries, keys = (self.heads.queries, self.heads.keys) if self.query_norm == "row" else (1, 1)
                found[f"{layer}.self_attn.q_norm.weight"] = (queries * self.heads.dim,)
                found[f"{layer}.self_attn.k_norm.weight"] = (keys * self.heads.dim,)
        return found

    @property
    def norms(self) -> tuple[str, str]:
        """Names of a layer's norms: that of attention and that of the feed-forward part."""
        if self.has_norms_behind:
            return "post_attention_layernorm", "post_feedforward_layernorm"
        return "input_layernorm", "post_attention_layernorm"

    def stored(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape and dtype of every array that the compiled code takes, in order."""
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for name, (n, k) in self.matrices().items():
            words, *scales = self.form.shapes(n, k)
            found[weight_name(name, self.form)] = (words, self.form.dtype)
            if scales:
                assert self.form.scale_dtype is not None
                found[f"{name}.q_scale"] = (scales[0], self.form.scale_dtype)
        found.update({name: (shape, "float32") for name, shape in self.vectors().items()})
        return found


def weight_name(matrix: str, form: WeightFormat) -> str:
    """Return the name of a matrix's stored weights, as MLC names them."""
    return f"{matrix}.{'q_weight' if form.is_grouped else 'weight'}"


def build(decoder: Decoder) -> IRModule:
    """Return the module with ``prefill``, ``decode``, ``logits`` and ``create_cache``."""
    from tvm import relax

    builder = relax.BlockBuilder()
    _emit_forward(builder, decoder, "prefill", is_decode=False, is_last_only=True)
    _emit_forward(builder, decoder, "decode", is_decode=True, is_last_only=True)
    _emit_forward(builder, decoder, "logits", is_decode=False, is_last_only=False)
    _emit_cache(builder, decoder)
    return builder.finalize()


def _emit_forward(
    builder: relax.BlockBuilder, decoder: Decoder, name: str, *, is_decode: bool, is_last_only: bool
) -> None:
    from tvm import relax, tirx

    n = 1 if is_decode else tirx.Var("n", "int64")
    ids = relax.Var("ids", relax.TensorType((n,), "int32"))
    cache = relax.Var("cache", relax.AnyType())
    kinds = [relax.TensorType(shape, dtype) for shape, dtype in decoder.stored().values()]
    parameters = relax.Var("parameters", relax.TupleType(kinds))
    attributes = {"num_input": 2}
    with builder.function(name, [ids, cache, parameters], attrs=attributes):
        with builder.dataflow():
            forward = _Forward(builder, decoder, n, parameters, is_decode=is_decode)
            out = builder.emit_output(forward.run(ids, cache, is_last_only=is_last_only))
        builder.emit_func_output(out)


class _Forward:
    """One pass through the layers, being emitted."""

    def __init__(
        self,
        builder: relax.BlockBuilder,
        decoder: Decoder,
        rows: Any,
        parameters: relax.Var,
        *,
        is_decode: bool,
    ) -> None:
        self._builder, self._decoder, self._rows, self._is_decode = builder, decoder, rows, is_decode
        self._parameters = parameters
        self._index = {name: at for at, name in enumerate(decoder.stored())}

    def run(self, ids: relax.Var, cache: relax.Var, *, is_last_only: bool) -> relax.Var:
        from tvm import relax

        decoder = self._decoder
        positions = self._builder.emit(
            relax.call_pure_packed(
                "vm.builtin.attention_kv_cache_get_query_positions",
                cache,
                ty_args=relax.TensorType((self._rows,), "int32"),
            )
        )
        x = self._embed(ids)
        for i in range(decoder.layers):
            layer = f"model.layers.{i}"
            attention = partial(self._attention, i, f"{layer}.self_attn", cache, positions)
            feed_forward = partial(self._feed_forward, f"{layer}.mlp")
            for norm, part in zip(decoder.norms, (attention, feed_forward), strict=True):
                x = self._add(x, self._normalised(f"{layer}.{norm}", part, x))
        if is_last_only and not self._is_decode:
            x = self._call("last", elementwise.last(decoder.width), [x], (1, decoder.width))
        is_one = is_last_only or self._is_decode
        x = self._norm(x, "model.norm", is_one=is_one)
        return self._matmul("model.embed_tokens" if decoder.is_tied else "lm_head", x, is_one=is_one)

    def _normalised(self, norm: str, part: Callable[[relax.Var], relax.Var], x: relax.Var) -> relax.Var:
        """Return a part of a layer with its norm, which comes before or behind it."""
        if self._decoder.has_norms_behind:
            return self._norm(part(x), norm)
        return part(self._norm(x, norm))

    def _parameter(self, name: str) -> relax.Var:
        from tvm import relax

        return self._builder.emit(relax.TupleGetItem(self._parameters, self._index[name]), name.replace(".", "_"))

    def _call(self, name: str, kernel: Any, arguments: Sequence[Any], shape: Sequence[Any]) -> relax.Var:
        from tvm import relax

        function = self._builder.add_func(kernel, name)
        return self._builder.emit(relax.call_tir(function, list(arguments), relax.TensorType(shape, "float32")))

    def _stored(self, matrix: str) -> list[relax.Var]:
        form = self._decoder.form
        names = [weight_name(matrix, form), *([f"{matrix}.q_scale"] if form.is_grouped else [])]
        return [self._parameter(name) for name in names]

    def _embed(self, ids: relax.Var) -> relax.Var:
        decoder = self._decoder
        kernel = elementwise.embed(decoder.vocabulary, decoder.width, decoder.form, is_decode=self._is_decode)
        return self._call("embed", kernel, [ids, *self._stored("model.embed_tokens")], (self._rows, decoder.width))

    def _matmul(self, matrix: str, x: relax.Var, *, is_one: bool = False) -> relax.Var:
        n, k = self._decoder.matrices()[matrix]
        is_one = is_one or self._is_decode
        padded = -(-n // lanes_of(n)) * lanes_of(n)
        kernel = matmul(n, k, self._decoder.form, is_decode=is_one)
        name = f"matmul_{matrix.rsplit('.', 1)[-1]}"
        return self._call(name, kernel, [x, *self._stored(matrix)], (1 if is_one else self._rows, padded))

    def _norm(self, x: relax.Var, name: str, *, is_one: bool = False) -> relax.Var:
        is_one = is_one or self._is_decode
        width = self._decoder.width
        kernel = elementwise.rms_norm(width, self._decoder.norm_eps, is_decode=is_one)
        return self._call(
            "rms_norm", kernel, [x, self._parameter(f"{name}.weight")], (1 if is_one else self._rows, width)
        )

    def _add(self, a: relax.Var, b: relax.Var) -> relax.Var:
        width = self._decoder.width
        return self._call("add", elementwise.add(width, is_decode=self._is_decode), [a, b], (self._rows, width))

    def _attention(self, index: int, layer: str, cache: relax.Var, positions: relax.Var, x: relax.Var) -> relax.Var:
        from tvm import relax

        heads, rows = self._decoder.heads, self._rows
        qkv = self._positioned(index, layer, self._matmul(f"{layer}.qkv_proj", x), positions)
        attended = self._builder.emit(
            relax.call_dps_packed(
                "vm.builtin.attention_kv_cache_attention_with_fused_qkv",
                [cache, relax.prim_value(index), relax.prim_value(float(heads.dim**-0.5)), qkv],
                out_ty=relax.TensorType((rows, heads.queries, heads.dim), "float32"),
            )
        )
        flat = self._builder.emit(relax.op.reshape(attended, (rows, heads.queries * heads.dim)))
        return self._matmul(f"{layer}.o_proj", flat)

    def _positioned(self, index: int, layer: str, qkv: relax.Var, positions: relax.Var) -> relax.Var:
        """Return biased, normalised and rotated queries and keys beside the values, [rows, heads, dim]."""
        decoder, heads = self._decoder, self._decoder.heads
        table = self._parameter(TABLE)
        norms = [self._parameter(f"{layer}.{part}_norm.weight") for part in "qk"] if decoder.query_norm else []
        if decoder.query_norm == "row":
            kernel = elementwise.row_norms(heads, decoder.norm_eps, is_decode=self._is_decode)
            total = (heads.queries + 2 * heads.keys) * heads.dim
            qkv, norms = self._call("row_norms", kernel, [qkv, *norms], (self._rows, total)), []
        kernel = elementwise.rotary(
            heads,
            decoder.context,
            decoder.norm_eps,
            is_decode=self._is_decode,
            has_bias=decoder.has_bias,
            has_norm=bool(norms),
            is_rotated=index not in decoder.unrotated,
        )
        bias = self._parameter(f"{layer}.qkv_proj.bias") if decoder.has_bias else table
        shape = (self._rows, heads.queries + 2 * heads.keys, heads.dim)
        return self._call("rotary", kernel, [qkv, positions, table, bias, *(norms or [table, table])], shape)

    def _feed_forward(self, layer: str, x: relax.Var) -> relax.Var:
        hidden = self._decoder.hidden
        both = self._matmul(f"{layer}.gate_up_proj", x)
        gated = self._call("gated", elementwise.gated(hidden, is_decode=self._is_decode), [both], (self._rows, hidden))
        return self._matmul(f"{layer}.down_proj", gated)


def _emit_cache(builder: relax.BlockBuilder, decoder: Decoder) -> None:
    """Emit ``create_cache(max_batch_size, max_total_len, prefill_chunk, page_size, sliding) -> cache``."""
    import tvm
    from tvm import relax, tirx
    from tvm.relax.frontend.nn.llm.kv_cache import AttnKind, RopeMode, _merge_state_inplace_cpu

    heads = decoder.heads
    names = ("max_batch_size", "max_total_len", "prefill_chunk", "page_size", "support_sliding_window")
    sizes = [tirx.Var(name, "int64") for name in names]
    arguments = [relax.Var(name, relax.ShapeType([size])) for name, size in zip(names, sizes, strict=True)]

    def kernel(function: Any, name: str) -> relax.Tuple:
        return relax.Tuple([tvm.ir.StringImm("tirx"), builder.add_func(function, name)])

    append = builder.add_func(paged_cache.append(heads), "append")
    # Sliding windows, trees, forks and latent attention are not used: their places take an empty tuple where the cache
    # allows it, else a function that is never called.
    nothing = relax.Tuple([])
    with builder.function("create_cache", arguments):
        created = relax.call_pure_packed(
            "vm.builtin.paged_attention_kv_cache_create",
            relax.ShapeExpr([*sizes, 1]),
            relax.ShapeExpr([0, decoder.layers]),
            relax.prim_value(heads.queries),
            relax.prim_value(heads.keys),
            relax.prim_value(heads.dim),
            relax.prim_value(heads.dim),
            relax.ShapeExpr([int(AttnKind.MHA)] * decoder.layers),
            relax.prim_value(0),
            relax.prim_value(int(RopeMode.NONE)),
            relax.prim_value(1),
            relax.prim_value(1),
            relax.prim_value(0),  # no extension factors
            relax.const(0.0, "float32"),  # of the dtype that the cache has
            append,
            append,
            kernel(prefill_attention.prefill(heads), "attention_prefill"),
            kernel(prefill_attention.cached_prefill(heads), "attention_cached_prefill"),
            kernel(decode_attention.decode(heads), "attention_decode"),
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            relax.Tuple([builder.add_func(_merge_state_inplace_cpu("float32"), "merge_state")]),
            builder.add_func(paged_cache.split(heads), "split"),
            append,
            append,
            append,
            ty_args=relax.AnyType(),
        )
        builder.emit_func_output(builder.emit(created))
