"""One process of ``model.generate``: prints its decode rate; the other side of the transformers plugin's comparison."""

from __future__ import annotations

import json
import random
import sys
import time

import torch
import transformers
from transformers.generation.streamers import BaseStreamer


class Stamps(BaseStreamer):
    """Takes the time of every token that ``generate`` hands over; the first call brings the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def main() -> None:
    folder, prompt_tokens, tokens, repetitions, threads = sys.argv[1], *map(int, sys.argv[2:])
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    # Without an end token nothing stops early, and no logits processor is needed to keep it going.
    model.generation_config.eos_token_id = None
    chooser, rates = random.Random(0), []
    for _ in range(repetitions + 1):
        ids = torch.tensor([[chooser.randrange(400) for _ in range(prompt_tokens)]])
        stamps = Stamps()
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=stamps,
        )
        first, *_, last = stamps.times[1:]
        rates.append((tokens - 1, last - first))
    measured = rates[1:]  # the first one warms up
    print(json.dumps(sum(n for n, _ in measured) / sum(seconds for _, seconds in measured)))


if __name__ == "__main__":
    main()
