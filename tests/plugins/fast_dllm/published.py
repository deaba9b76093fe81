"""The published samplers' schedules, written out plainly: which forwards run, and what each of them commits.

Sources: the cached sampler of Dream and LLaDA's own sampler (Fast-dLLM v1, ML-GSAI/LLaDA), and the layer-reuse study of
Fast-dLLM v2 in its files of January and of February 2026. Their stop at an end token is left out: the whole canvas is
filled. Everything is float64.
"""

from __future__ import annotations

import random

import torch

from .naive import Naive, block_causal, proposal


def times(steps: int) -> torch.Tensor:
    return torch.linspace(1, 1e-3, steps + 1)


def _unmasked(logits: torch.Tensor, mask: int) -> torch.Tensor:
    logits = logits.clone()
    logits[:, mask] = -torch.inf
    return logits


def _rank(logits: torch.Tensor, ranking: str) -> torch.Tensor:
    """What positions are ranked by, from logits [n, V]."""
    chances = logits.softmax(-1)
    if ranking == "entropy":
        return (chances * torch.log(chances + 1e-10)).sum(-1)
    top = chances.topk(2).values
    return top[:, 0] if ranking == "low_confidence" else top[:, 0] - top[:, 1]


def dream_whole(model: Naive, prompt: list[int], length: int, steps: int, ranking: str, mask: int, seed: int = 0):
    """Without a cache: the canvas is one block; returns tokens and the number of forwards."""
    tokens, t, chance = prompt + [mask] * length, times(steps), random.Random(seed)
    for i in range(steps):
        at = [p for p, token in enumerate(tokens) if token == mask]
        is_last = i == steps - 1
        logits = _unmasked(model.logits(tokens), mask)[[p - 1 for p in at]]
        if ranking == "origin":
            share = 1.0 if is_last else float(1 - t[i + 1] / t[i])
            chosen = [n for n in range(len(at)) if chance.random() < share]
        else:
            count = len(at) if is_last else int(torch.tensor(float(len(at))) * (1 - t[i + 1] / t[i]))
            chosen = _rank(logits, ranking).topk(count).indices.tolist()
        for n in chosen:
            tokens[at[n]] = int(logits[n].argmax())
    return tokens[len(prompt) :], steps


def dream_cached(model: Naive, prompt: list[int], length: int, block: int, steps: int, cache: str, mask: int):
    """With a prefix or dual cache, ``steps`` per block, ranked by entropy; returns tokens and forwards by width."""
    tokens, t = prompt + [mask] * length, times(steps)
    end, forwards = len(tokens), [0, 0]
    for start in range(len(prompt), end, block):
        kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def keep(layer, k, v, kept=kept):
            kept[layer] = k, v
            return k, v

        def behind_prefix(layer, k, v, kept=kept, start=start):
            return tuple(torch.cat([old[:, :start], new], 1) for old, new in zip(kept[layer], (k, v), strict=True))

        def in_place(layer, k, v, kept=kept, start=start):
            for old, new in zip(kept[layer], (k, v), strict=True):
                old[:, start : start + block] = new
            return kept[layer]

        tokens[start] = proposal(model.run(tokens, 0, keep)[start - 1], mask)[0]
        forwards[0] += 1
        stop, join = (end, behind_prefix) if cache == "prefix" else (start + block, in_place)
        for i in range(1, steps):
            at = [p for p in range(start, start + block) if tokens[p] == mask]
            if not at:
                break
            logits = _unmasked(model.run(tokens[start:stop], start, join), mask)[[p - 1 - start for p in at]]
            forwards[1] += 1
            count = len(at) if i == steps - 1 else int(torch.tensor(float(len(at))) * (1 - t[i + 1] / t[i]))
            for n in _rank(logits, "entropy").topk(count).indices.tolist():
                tokens[at[n]] = int(logits[n].argmax())
    return tokens[len(prompt) :], forwards


def llada(model: Naive, prompt: list[int], length: int, block: int, steps: int, mask: int, **rules):
    """LLaDA's own sampler, with ``cfg_scale``, ``never`` (the end token) and ``last`` (the end, and that of a turn)."""
    tokens, end = prompt + [mask] * length, len(prompt) + length
    per_block = steps // (length // block)
    base, more = divmod(block, per_block)
    for start in range(len(prompt), end, block):
        for step in range(per_block):
            logits = model.logits(tokens)
            if rules.get("cfg_scale"):
                free = model.logits([mask] * len(prompt) + tokens[len(prompt) :])
                logits = free + (rules["cfg_scale"] + 1) * (logits - free)
            logits = _unmasked(logits, mask)
            logits[:, list(rules.get("never", ()))] = -torch.inf
            ids = logits.argmax(-1)
            logits[:, list(rules.get("last", ()))] = -torch.inf
            chances = logits.softmax(-1).gather(-1, ids[:, None])[:, 0]
            at = [p for p in range(start, start + block) if tokens[p] == mask]
            ranked = sorted(range(len(at)), key=lambda n: -chances[at[n]])  # of several zeros the first ones
            for n in ranked[: base + (step < more)]:
                tokens[at[n]] = int(ids[at[n]])
    return tokens[len(prompt) :]


class _Reuse:
    """Wrapped layers: they give what they remember in all but every k-th step."""

    def __init__(self, subset: range, k: int, *, computes_anyway: bool) -> None:
        self.subset, self.k, self.computes_anyway = subset, k, computes_anyway
        self.kept: dict[int, torch.Tensor] = {}
        self.step, self.width, self.place = 0, 0, 0

    def __call__(self, layer, compute):
        if layer not in self.subset:
            return compute()
        if self.step % self.k == 0 or layer not in self.kept:
            self.kept[layer] = compute()
            return self.kept[layer]
        if self.computes_anyway:
            compute()  # its keys and values are written, its output is dropped
        kept = self.kept[layer]
        return kept if len(kept) == self.width else kept[self.place : self.place + self.width]


class _Block:
    """Keys and values of committed positions, and those of the block in work."""

    def __init__(self, layers: _Reuse) -> None:
        self.layers = layers
        self.past: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.inside: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def committed(self, layer, keys, values):
        self.past[layer] = self._behind_past(layer, (keys, values))
        return self.past[layer]

    def filled(self, layer, keys, values):
        self.inside[layer] = keys, values
        return self._behind_past(layer, self.inside[layer])

    def replaced(self, layer, keys, values):
        for old, new in zip(self.inside[layer], (keys, values), strict=True):
            old[:, self.layers.place : self.layers.place + self.layers.width] = new
        return self._behind_past(layer, self.inside[layer])

    def _behind_past(self, layer, pair):
        if layer not in self.past:
            return pair
        return tuple(torch.cat(both, 1) for both in zip(self.past[layer], pair, strict=True))


def v2_reuse(model: Naive, prompt: list[int], limit: int, threshold: float, sizes, mask: int, reuse) -> tuple:
    """Fast-dLLM v2 with layer reuse; ``reuse``: layers, k, and "january" or "february".

    Returns the first ``limit`` tokens and how many forwards ran over a whole block, and over a sub-block.
    """
    block, sub = sizes
    subset, k, file = reuse
    tokens, ran = list(prompt), [0, 0]
    cache = _Block(_Reuse(subset, k, computes_anyway=file == "january"))
    start = len(prompt) // block * block
    if start:
        logits = model.run(tokens[:start], 0, cache.committed, block_causal(start, block))
        tokens += [proposal(logits[-1], mask)[0]] * (start == len(prompt))
    while len(tokens) < len(prompt) + limit:
        tokens += [mask] * (start + block - len(tokens))
        cache.inside, step = {}, 0
        for first in range(start, start + block, sub):
            while mask in tokens[first : first + sub]:
                is_whole = not cache.inside or tokens[first] == mask or (file == "january" and step % k == 0)
                at = start if is_whole else first
                cache.layers.step = 0 if is_whole and file == "february" else step
                cache.layers.place, cache.layers.width = at - start, block if is_whole else sub
                join = cache.filled if is_whole else cache.replaced
                logits = model.run(tokens[at : at + cache.layers.width], at, join, None, cache.layers)
                _commit(
                    tokens, {p: proposal(logits[p - 1 - at], mask) for p in range(first, first + sub)}, threshold, mask
                )
                ran[not is_whole] += 1
                step += 1
        tokens.append(proposal(model.run(tokens[start : start + block], start, cache.committed)[-1], mask)[0])
        start += block
    return tokens[len(prompt) : len(prompt) + limit], ran


def _commit(tokens: list[int], found: dict[int, tuple[int, float]], threshold: float, mask: int) -> None:
    masked = [p for p in found if tokens[p] == mask]
    best = max(masked, key=lambda p: found[p][1])
    for p in masked:
        if found[p][1] > threshold or p == best:
            tokens[p] = found[p][0]
