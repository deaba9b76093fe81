"""The models and decoding loops once more, as plainly as can be: no cache, everything evaluated anew, float64.

What the plugin does with caches and windows is held against this.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

_TO_QWEN = {
    "model.transformer.wte": "model.embed_tokens",
    "model.transformer.ln_f": "model.norm",
    "model.transformer.ff_out": "lm_head",
    "model.transformer.blocks": "model.layers",
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
    ".q_proj": ".self_attn.q_proj",
    ".k_proj": ".self_attn.k_proj",
    ".v_proj": ".self_attn.v_proj",
}


class Naive:
    """A checkpoint, evaluated densely."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.is_llada = config["model_type"] == "llada"
        tensors = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
        self.weights = {_renamed(n): t for n, t in tensors.items()} if self.is_llada else tensors
        self.heads = config.get("num_attention_heads") or config["n_heads"]
        self.layers = config.get("num_hidden_layers") or config["n_layers"]
        self.theta, self.eps = config["rope_theta"], config["rms_norm_eps"]

    def logits(self, tokens: list[int], sees: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [T, V]; ``sees`` [T, T] says who looks at whom, None: all at all."""
        return self.run(tokens, 0, lambda layer, keys, values: (keys, values), sees)

    def run(self, tokens, start, join, sees=None, around=lambda layer, compute: compute()) -> torch.Tensor:
        """Logits [n, V] of tokens that stand from ``start`` on.

        ``join`` turns a layer's keys and values of these tokens [heads, n, d] into all that they look at; ``around``
        decides what a layer gives: it may compute, or not.
        """
        hidden = self.weights["model.embed_tokens.weight"][torch.tensor(tokens)]
        for layer in range(self.layers):
            hidden = around(layer, partial(self._layer, layer, hidden, start, join, sees))
        return self._norm(hidden, self.weights["model.norm.weight"]) @ self.weights["lm_head.weight"].T

    def _layer(self, layer, hidden, start, join, sees):
        w, part = self.weights, f"model.layers.{layer}."
        normed = self._norm(hidden, w[part + "input_layernorm.weight"])
        q, k, v = (self._heads(normed, f"{part}self_attn.{name}_proj") for name in "qkv")  # [heads, T, d]
        k, v = join(layer, self._rotated(k, start), v)
        k, v = (x.repeat_interleave(len(q) // len(x), dim=0) for x in (k, v))
        scores = (self._rotated(q, start) @ k.transpose(1, 2)) / q.shape[-1] ** 0.5
        scores = scores if sees is None else scores.masked_fill(~sees, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(hidden), -1)
        hidden = hidden + mixed @ w[part + "self_attn.o_proj.weight"].T
        normed = self._norm(hidden, w[part + "post_attention_layernorm.weight"])
        gate = torch.nn.functional.silu(normed @ w[part + "mlp.gate_proj.weight"].T)
        return hidden + (gate * (normed @ w[part + "mlp.up_proj.weight"].T)) @ w[part + "mlp.down_proj.weight"].T

    def _heads(self, x, name):
        projected = x @ self.weights[name + ".weight"].T
        projected = projected + self.weights.get(name + ".bias", torch.zeros(projected.shape[-1], dtype=torch.double))
        return projected.view(len(x), -1, x.shape[-1] // self.heads).transpose(0, 1)

    def _norm(self, x, weight):
        return x * (x.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt() * weight

    def _rotated(self, x, start):
        d = x.shape[-1]
        frequencies = self.theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        angles = torch.arange(start, start + x.shape[1], dtype=torch.float64)[:, None] * frequencies
        cos, sin = (f(torch.cat([angles, angles], -1)) for f in (torch.cos, torch.sin))
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin


def _renamed(name: str) -> str:
    # Longest first: the head and the feed-forward output are both called ff_out.
    for llada in sorted(_TO_QWEN, key=len, reverse=True):
        if llada in name:
            name = name.replace(llada, _TO_QWEN[llada])
    return name


def block_causal(length: int, block: int) -> torch.Tensor:
    blocks = torch.arange(length) // block
    return blocks[:, None] >= blocks[None, :]


def proposal(row: torch.Tensor, mask: int) -> tuple[int, float]:
    """The likeliest token of a row of logits and its probability; never the mask."""
    row = row.clone()
    row[mask] = -torch.inf
    chances = row.softmax(-1)
    token = int(chances.argmax())
    return token, float(chances[token])


def llada_sampler(model: Naive, prompt: list[int], length: int, steps: int, mask: int) -> tuple[list[int], int]:
    """LLaDA's own sampler: the whole canvas is one block, equal shares of the most confident positions a step."""
    tokens = prompt + [mask] * length
    base, more = divmod(length, steps)
    for step in range(steps):
        logits = model.logits(tokens)
        found = {p: proposal(logits[p], mask) for p in range(len(prompt), len(tokens)) if tokens[p] == mask}
        for p in sorted(found, key=lambda p: -found[p][1])[: base + (step < more)]:
            tokens[p] = found[p][0]
    return tokens[len(prompt) :], steps


def v2_sampler(
    model: Naive, prompt: list[int], limit: int, threshold: float, block: int, sub: int, mask: int, stop: int | None
) -> tuple[list[int], list[int]]:
    """Fast-dLLM v2, everything computed from scratch in every step. Returns output and denoise steps per block."""
    tokens, steps = list(prompt), []
    end = len(prompt) + limit
    if len(prompt) % block == 0:
        tokens.append(proposal(model.logits(tokens, block_causal(len(tokens), block))[-1], mask)[0])

    def is_done():
        for p in range(len(prompt), min(len(tokens), end)):
            if tokens[p] == mask:
                return False
            if tokens[p] == stop:
                return True
        return len(tokens) >= end

    while not is_done():
        start = (len(tokens) - 1) // block * block
        tokens += [mask] * (start + block - len(tokens))
        steps.append(0)
        for first in range(start, start + block, sub):
            positions = range(first, min(first + sub, start + block, end))
            while any(tokens[p] == mask for p in positions) and not is_done():
                _commit(tokens, model.logits(tokens, block_causal(len(tokens), block)), positions, threshold, mask)
                steps[-1] += 1
        if not is_done():
            tokens.append(proposal(model.logits(tokens, block_causal(len(tokens), block))[-1], mask)[0])
    output = tokens[len(prompt) : end]
    return (output[: output.index(stop) + 1] if stop in output else output), steps


def _commit(tokens: list[int], logits: torch.Tensor, positions: range, threshold: float, mask: int) -> None:
    found = {p: proposal(logits[p - 1], mask) for p in positions if tokens[p] == mask}
    best = max(found, key=lambda p: found[p][1])
    for p, (token, confidence) in found.items():
        if confidence > threshold or p == best:
            tokens[p] = token
