"""Write an untrained Qwen3 target and a draft that often agrees with it, for speed work at the size of a real model.

The draft is the target's first layers with its embedding, head and norm. What the layers behind them write is scaled
down, so that they cost what they cost and change little: the smaller ``--share``, the more often the two agree. The
acceptance of such a pair is made; what a draft and a verification cost is not.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from decodebench.plugins.reference.family import WEIGHTS_FOLDER

_SHAPE = dict(
    hidden_size=2048,
    intermediate_size=6144,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=151936,
    max_position_embeddings=4096,
    tie_word_embeddings=False,
)
"""Qwen3-1.7B's, but for the context and an untied head: with a tied one an untrained model repeats itself."""
_WRITERS = ("self_attn.o_proj", "mlp.down_proj")


@click.command()
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--layers", type=click.IntRange(2), default=28, show_default=True, help="Of the target.")
@click.option("--draft-layers", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Scale of what later layers write."
)
@click.option("--device", default="cpu", show_default=True, help="Where the weights are drawn.")
def main(folder: Path, layers: int, draft_layers: int, share: float, device: str) -> None:
    """Write FOLDER/target and FOLDER/draft as Hugging Face folders with the tiny family's tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    stops = {"eos_token_id": 2, "pad_token_id": 0, "bos_token_id": None}
    config = transformers.Qwen3Config(num_hidden_layers=layers, **_SHAPE, **stops)
    with torch.device(device):
        target = transformers.Qwen3ForCausalLM(config).to(torch.float16)
    with torch.no_grad():
        for layer in target.model.layers[draft_layers:]:
            for name in _WRITERS:
                layer.get_submodule(name).weight.mul_(share)
    save(target, folder / "target")
    target.model.layers = target.model.layers[:draft_layers]
    target.config.num_hidden_layers = draft_layers
    target.config.layer_types = target.config.layer_types[:draft_layers]
    save(target, folder / "draft")


def save(model, folder: Path) -> None:  # noqa: ANN001 - transformers is imported late
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(WEIGHTS_FOLDER / "target" / file, folder / file)
    click.echo(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")


if __name__ == "__main__":
    main()
