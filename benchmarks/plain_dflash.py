"""DFlash as one would write it first: the thing that `benchmarks/dflash.py` holds the backend against.

The target is the model of transformers with all hidden states and a growing cache; the draft is a plain module over the
same checkpoint whose cache grows by concatenation; the device is synchronised around every part of a cycle.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class PlainDraft:
    """The published forward, layer by layer, with a cache that is concatenated and cropped."""

    def __init__(self, folder: Path, device: str) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {
            name: tensor.float().to(device) for name, tensor in load_file(folder / "model.safetensors").items()
        }
        self.taps = self.config["dflash_config"]["target_layer_ids"]
        self.mask = self.config["dflash_config"]["mask_token_id"]
        rope = self.config.get("rope_parameters") or {}
        theta = rope.get("rope_theta") or self.config["rope_theta"]
        d = self.config["head_dim"]
        self.frequencies = 1.0 / theta ** (torch.arange(0, d, 2, device=device).float() / d)
        self.eps = self.config["rms_norm_eps"]

    def forward(self, block: Tensor, features: Tensor, positions: Tensor, cache: list) -> Tensor:
        """block [1, b, H], features [1, c, taps x H], positions of both; returns states [1, b, H]."""
        w, eps, config = self.weights, self.eps, self.config
        heads, kv, d = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        context = rms(F.linear(features, w["fc.weight"]), w["hidden_norm.weight"], eps)
        angles = positions[:, None].float() * self.frequencies
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos(), angles.sin()
        b = block.shape[1]
        h = block
        for layer in range(config["num_hidden_layers"]):
            part = f"layers.{layer}."
            n = rms(h, w[part + "input_layernorm.weight"], eps)
            both = torch.cat([context, n], 1)
            q = F.linear(n, w[part + "self_attn.q_proj.weight"]).view(1, b, heads, d)
            k = F.linear(both, w[part + "self_attn.k_proj.weight"]).view(1, -1, kv, d)
            v = F.linear(both, w[part + "self_attn.v_proj.weight"]).view(1, -1, kv, d).transpose(1, 2)
            q = rms(q, w[part + "self_attn.q_norm.weight"], eps).transpose(1, 2)
            k = rms(k, w[part + "self_attn.k_norm.weight"], eps).transpose(1, 2)
            q, k = rotate(q, cos[-b:], sin[-b:]), rotate(k, cos, sin)
            if cache[layer] is not None:
                k, v = torch.cat([cache[layer][0], k], 2), torch.cat([cache[layer][1], v], 2)
            cache[layer] = (k, v)
            k, v = (t.repeat_interleave(heads // kv, 1) for t in (k, v))
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, b, -1)
            h = h + F.linear(mixed, w[part + "self_attn.o_proj.weight"])
            n = rms(h, w[part + "post_attention_layernorm.weight"], eps)
            gate, up = F.linear(n, w[part + "mlp.gate_proj.weight"]), F.linear(n, w[part + "mlp.up_proj.weight"])
            h = h + F.linear(F.silu(gate) * up, w[part + "mlp.down_proj.weight"])
        return rms(h, w["norm.weight"], eps)


class PlainLoop:
    """The published loop, without its tail cycle."""

    def __init__(self, target_folder: Path, draft_folder: Path, device: str) -> None:
        import transformers

        transformers.utils.logging.disable_progress_bar()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(target_folder, dtype=torch.float32).eval()
        self.model.to(device)
        self.draft, self.device = PlainDraft(draft_folder, device), device

    def _synchronise(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def _target(self, ids: Tensor, cache: object) -> tuple[Tensor, Tensor]:
        out = self.model(input_ids=ids, past_key_values=cache, use_cache=True, output_hidden_states=True)
        return out.logits, torch.cat([out.hidden_states[i + 1] for i in self.draft.taps], -1)

    @torch.inference_mode()
    def generate(
        self,
        prompt: Sequence[int],
        limit: int,
        block_size: int,
        stops: Collection[int] = (),
        script: Callable[[int], int] | None = None,
    ) -> tuple[list[int], float, int]:
        """Return (ids, seconds from first to last token, cycles); ``script(position)`` replaces drafted tokens."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        draft_cache = [None] * self.draft.config["num_hidden_layers"]
        ids = torch.tensor([list(prompt)], device=self.device)
        logits, features = self._target(ids, cache)
        output = [int(logits[0, -1].argmax())]
        began = self._synchronise()
        start, seen, cycles = len(prompt), 0, 0
        while len(output) < limit and output[-1] not in stops:
            b = min(block_size, limit - len(output))
            block = torch.full((1, b), self.draft.mask, device=self.device)
            block[0, 0] = output[-1]
            if b > 1:
                self._synchronise()
                positions = torch.arange(seen, start + b, device=self.device)
                embedded = self.model.get_input_embeddings()(block)
                states = self.draft.forward(embedded, features, positions, draft_cache)
                block[:, 1:] = self.model.lm_head(states[:, 1:]).argmax(-1)
                draft_cache = [(k[:, :, :start], v[:, :, :start]) for k, v in draft_cache]
                self._synchronise()
                if script is not None:
                    block[0, 1:] = torch.tensor([script(start + at) for at in range(1, b)], device=self.device)
            logits, features = self._target(block, cache)
            own = logits.argmax(-1)
            accepted = int((block[:, 1:] == own[:, :-1]).cumprod(-1).sum())
            self._synchronise()
            new = [*block[0, 1 : 1 + accepted].tolist(), int(own[0, accepted])]
            stopped = next((at for at, token in enumerate(new) if token in stops), None)
            output += new if stopped is None else new[: stopped + 1]
            seen, start, cycles = start, start + accepted + 1, cycles + 1
            features = features[:, : accepted + 1]
            if cache.get_seq_length() > start:
                cache.crop(start - cache.get_seq_length())
        return output, self._synchronise() - began, cycles
