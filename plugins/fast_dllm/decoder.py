"""The driver: runs the loops of several requests side by side, those that ask for the same kind of forward together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from pydantic import JsonValue

from ... import BackendError
from ...core.contract.generation import Request, Step
from ...core.sdk.torch_layers.place import Place
from .accounts import Accounts, block_causal_tokens, full_attention_tokens
from .block_causal import BlockCausalPlan, generate
from .canvas import Canvas
from .forwards import REUSED, Forward, Loop, Proposals
from .full_attention import FullAttentionPlan, fill
from .layer_reuse import LayerMemory
from .network import Network
from .options import FastDllmOptions
from .places import BlockCausal, Window, Windows
from .proposals import Proposer, plain, split
from .variant import Variant

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class Row:
    """A request on its way.

    Attributes:
        index: its place in the batch and its row of the cache.
        canvas: its tokens.
        loop: its decoding loop.
        proposer: its choice of tokens.
        wanted: the forward that its loop waits for; None when it has ended.
        before: evaluations that committed nothing, which the next step counts.
    """

    index: int
    canvas: Canvas
    loop: Loop
    proposer: Proposer
    wanted: Forward | None = None
    before: list[str] = field(default_factory=list)


class Decoder:
    """A network and its loops.

    Args:
        network: the loaded checkpoint.
        variant: its family.
        options: the rules.
        block_length: tokens per block.
        end_ids: the end token and what else ends a turn (LLaDA).
    """

    def __init__(
        self,
        network: Network,
        variant: Variant,
        options: FastDllmOptions,
        block_length: int,
        end_ids: Sequence[int] = (),
    ) -> None:
        self._network, self._variant, self._options, self._block = network, variant, options, block_length
        self._never = end_ids[:1] if options.logits_eos_inf else ()
        self._last = end_ids if options.confidence_eos_eot_inf else ()
        self._branches = 2 if options.cfg_scale else 1  # a guided row is evaluated with its prompt and without
        self._is_blockwise = variant.name == "v2"
        has_memory = options.reuse in ("published", "residual") and options.reuse_k > 1
        self.memory = LayerMemory(options, network.config.layers) if has_memory else None
        self.accounts = Accounts()

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request; a step per forward and row, one that commits nothing joined to the next."""
        rows = self._begin(batch)
        try:
            while rows:
                steps = self._round(rows)
                rows = [row for row in rows if row.wanted is not None]
                yield from steps
        finally:
            if len(batch) == 1:
                self._finish(self._canvases[0])

    def _begin(self, batch: Sequence[Request]) -> list[Row]:
        rows, room, longest = [], 0, 0
        self.accounts.begin()
        self._count = len(batch)
        self._canvases: list[Canvas] = []
        for index, request in enumerate(batch):
            canvas = Canvas.of(request, self._network.mask_id)
            loop, end = self._loop(canvas)
            proposer = Proposer(request, self._options, self._last, self._network.device)
            rows.append(Row(index, canvas, loop, proposer, wanted=next(loop)))
            self._canvases.append(canvas)
            room, longest = max(room, end), max(longest, end - canvas.prompt_length)
        # A row that shares a forward with a longer one is filled up with masks behind its own end.
        self._network.reserve(self._branches * len(batch), room + (longest if len(batch) > 1 else 0))
        return rows

    def _loop(self, canvas: Canvas) -> tuple[Loop, int]:
        """Return a request's loop and the number of positions that it may touch."""
        limit = canvas.request.max_new_tokens
        if self._is_blockwise:
            plan = BlockCausalPlan.of(self._options, block=self._block)
            return generate(canvas, plan), canvas.limit + 2 * self._block
        whole = FullAttentionPlan.of(
            self._options, limit, block_length=self._block, is_shifted=self._variant.is_shifted
        )
        end = canvas.prompt_length + whole.length
        context = self._network.config.context
        if self._options.gen_length is not None and end > context:
            raise BackendError(
                f"a prompt of {canvas.prompt_length} tokens and gen_length = {whole.length} exceed the context of "
                f"{context} tokens",
                code="context-exceeded",
            )
        return fill(canvas, whole), end

    def _round(self, rows: Sequence[Row]) -> list[Step]:
        """Give every row what it waits for; rows whose forwards are of one kind share it."""
        import torch

        steps = []
        # Entered anew for each step: left open across a yield it would leak into the caller.
        with torch.inference_mode():
            for _, group in groupby(sorted(rows, key=_kind), key=_kind):
                members = list(group)
                for row, found in zip(members, self._evaluate(members), strict=True):
                    steps += self._advance(row, found)
        return steps

    def _evaluate(self, rows: Sequence[Row]) -> Sequence[Proposals]:
        forwards = [row.wanted for row in rows if row.wanted is not None]
        if forwards[0] is REUSED:
            return [Proposals((), ())] * len(rows)
        n = max(forward.n for forward in forwards)
        ids = [self._padded(row.canvas.tokens, forward, n) for row, forward in zip(rows, forwards, strict=True)]
        if self._branches > 1:
            free = [row.canvas.without_prompt() for row in rows]
            ids += [self._padded(tokens, forward, n) for tokens, forward in zip(free, forwards, strict=True)]
        tokens = self._network_input(ids)
        if self.memory is not None:
            self.memory.begin(forwards[0])
        if len(ids) == 1:
            cache = self._network.cache.rows(1, rows[0].index)
            place: Place = BlockCausal(n, self._block) if forwards[0].kind == "prefill" else _window(forwards[0])
        else:
            cache = self._network.cache.data
            places = [row.index + branch * self._count for branch in range(self._branches) for row in rows]
            each = [*forwards] * self._branches
            starts, extents = [f.start for f in each], [f.extent for f in each]
            place = Windows(places, starts, n, extents, self._network.device)
        states = self._network.states(tokens, place, cache, self.memory)
        return self._propose(rows, forwards, states)

    def _propose(self, rows: Sequence[Row], forwards: Sequence[Forward], states: Tensor) -> list[Proposals]:
        """Apply the head to the rows that predict the positions asked for, of all requests at once."""
        import torch

        shift = 1 if self._variant.is_shifted else 0
        sizes = [len(forward.asked) for forward in forwards]
        if not any(sizes):
            return [Proposals((), ())] * len(rows)
        each = [*forwards] * self._branches
        parts = [_picked(states[at], [p - shift - f.start for p in f.asked]) for at, f in enumerate(each)]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        logits = self._network.logits(joined, self._options.cfg_scale, self._never)
        if all(row.proposer.is_plain for row in rows):
            return split(plain(logits), sizes)
        return [
            row.proposer(own) if len(own) else Proposals((), ())
            for row, own in zip(rows, torch.split(logits, sizes), strict=True)
        ]

    def _padded(self, tokens: list[int], forward: Forward, n: int) -> list[int]:
        own = tokens[forward.start : forward.start + forward.n]
        return own + [self._network.mask_id] * (n - len(own))

    def _network_input(self, ids: list[list[int]]) -> Tensor:
        import torch

        return torch.tensor(ids, device=self._network.device)

    def _advance(self, row: Row, found: Proposals) -> list[Step]:
        """Send a row its proposals and turn what it commits into a step."""
        assert row.wanted is not None
        kind = row.wanted.kind
        if self._count == 1:
            self.accounts.count(kind)
        try:
            row.wanted = row.loop.send(found)
        except StopIteration:
            row.wanted = None
        fresh = row.canvas.take_fresh()
        if not fresh:
            row.before.append(kind)
            return []
        forwards = [*row.before, kind]
        trace: dict[str, JsonValue] = {"forward": kind, **({"before": ",".join(row.before)} if row.before else {})}
        row.before = []
        prompt = row.canvas.prompt_length
        return [
            Step(
                [row.canvas.tokens[at] for at in fresh],
                row=row.index,
                positions=[at - prompt for at in fresh],
                block_size=self._block,
                forwards=sum(kind != "reused" for kind in forwards),
                trace=trace,
            )
        ]

    def _finish(self, canvas: Canvas) -> None:
        """Note the published count; a generation that was cut at a stop string has none."""
        if canvas.is_finished:
            raw = block_causal_tokens(canvas, self._block) if self._is_blockwise else full_attention_tokens(canvas)
            self.accounts.finish(raw)


def _kind(row: Row) -> tuple[str, int]:
    """Return what rows must have in common to share a forward; a prefill's mask is of one row alone."""
    assert row.wanted is not None
    return row.wanted.kind, row.index if row.wanted.kind == "prefill" else -1


def _window(forward: Forward) -> Window:
    return Window(forward.start, forward.n, forward.extent)


def _picked(states: Tensor, rows: Sequence[int]) -> Tensor:
    """Return the given rows of [n, width]; a slice where they lie side by side."""
    if rows and rows[-1] - rows[0] == len(rows) - 1:
        return states[rows[0] : rows[-1] + 1]
    return states[list(rows)]
