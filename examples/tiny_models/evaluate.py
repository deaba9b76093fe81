"""Measuring the tiny family: accuracy, acceptance of the draft and what a quantisation costs, all on the CPU.

`python -m examples.tiny_models.evaluate` prints the figures of the model card as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.core.sdk.answers import final_number
from decodebench.plugins.reference.family import DFLASH, END_ID, WEIGHTS_FOLDER
from decodebench.plugins.reference.problems import Problem, held_out_problems
from decodebench.plugins.reference.shapes import DraftShape, Shape

from .dflash_network import context_features, draft_block
from .network import Weights, forward
from .recipes import DFLASH_RECIPE, RECIPES

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

TEST_SEED = 20_000
"""Seed of the held-out problems of the card."""
MAX_NEW_TOKENS = 160
QUANTISATION_BITS = (8, 4, 3)
DRAFTED_PER_CYCLE = (2, 4, 8)
BLOCK_SIZES = (4, 8, 16)
_GROUP = 32


@dataclass(frozen=True, slots=True)
class Generation:
    """A prompt and its greedy continuation, the end token included where it was reached."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Sums over speculative verify cycles; `committed` counts the bonus tokens too."""

    drafted: int
    accepted: int
    cycles: int
    committed: int

    @property
    def rate(self) -> float:
        """Accepted drafts per drafted token."""
        return self.accepted / self.drafted

    @property
    def tau(self) -> float:
        """Tokens committed per verify cycle."""
        return self.committed / self.cycles


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many of `problems` were solved, and how many outputs equal those of the float32 weights token by token."""

    right: int
    problems: int
    identical: int
    mean_output_tokens: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the card states: accuracies by member and weights, acceptance by tokens drafted and by block size."""

    test_seed: int
    members: dict[str, dict[str, Accuracy]]
    acceptance_problems: int
    acceptance: dict[str, Acceptance]
    block_acceptance: dict[str, Acceptance]


def held_out(n: int, seed: int = TEST_SEED) -> list[Problem]:
    """Return the first `n` held-out problems of a seed."""
    return list(islice(held_out_problems(seed), n))


def load_weights(folder: Path) -> Weights:
    """Read a model folder's weights as float32."""
    from safetensors.torch import load_file

    return {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read a model folder's tokenizer."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def generate_greedily(
    weights: Weights, shape: Shape, prompts: Sequence[Sequence[int]], end_id: int, max_new_tokens: int = MAX_NEW_TOKENS
) -> list[Generation]:
    """Continue prompts (token ids) greedily; prompts of equal length run as one batch, so that none is padded."""
    import torch

    same_length: dict[int, list[int]] = defaultdict(list)
    for at, prompt in enumerate(prompts):
        same_length[len(prompt)].append(at)
    outputs: list[list[int]] = [[] for _ in prompts]
    with torch.inference_mode():
        for members in same_length.values():
            batch = torch.tensor([list(prompts[at]) for at in members])
            for at, output in zip(members, _continue(weights, shape, batch, end_id, max_new_tokens), strict=True):
                outputs[at] = output
    return [Generation(tuple(prompt), tuple(output)) for prompt, output in zip(prompts, outputs, strict=True)]


def _continue(weights: Weights, shape: Shape, prompts: Tensor, end_id: int, max_new_tokens: int) -> list[list[int]]:
    import torch

    rows, length = prompts.shape
    logits, cache, _ = forward(weights, shape, prompts, torch.arange(length).expand(rows, -1))
    outputs: list[list[int]] = [[] for _ in range(rows)]
    running = list(range(rows))
    for position in range(length, length + max_new_tokens):
        chosen = logits[:, -1].argmax(-1)  # [running rows]
        for row, token in zip(running, chosen.tolist(), strict=True):
            outputs[row].append(token)
        goes_on = (chosen != end_id).nonzero()[:, 0]
        if len(goes_on) == 0:
            break
        if len(goes_on) < len(running):
            running = [running[at] for at in goes_on.tolist()]
            chosen, cache = chosen[goes_on], [(keys[goes_on], values[goes_on]) for keys, values in cache]
        positions = torch.full((len(running), 1), position)
        logits, cache, _ = forward(weights, shape, chosen[:, None], positions, cache=cache)
    return outputs


def answer_problems(
    weights: Weights, shape: Shape, tokenizer: Tokenizer, problems: Iterable[Problem]
) -> list[Generation]:
    """Let a model answer problems greedily."""
    prompts = [tokenizer.encode(problem.prompt, add_special_tokens=False).ids for problem in problems]
    return generate_greedily(weights, shape, prompts, END_ID)


def count_right(tokenizer: Tokenizer, problems: Sequence[Problem], generations: Sequence[Generation]) -> int:
    """Count generations whose final number is the problem's answer."""
    texts = [tokenizer.decode(list(generation.output)) for generation in generations]
    pairs = zip(problems, texts, strict=True)
    return sum(final_number(text) == str(problem.answer) for problem, text in pairs)


def accuracy(weights: Weights, shape: Shape, tokenizer: Tokenizer, problems: Sequence[Problem]) -> float:
    """Return the share of problems that a model solves greedily."""
    generations = answer_problems(weights, shape, tokenizer, problems)
    return count_right(tokenizer, problems, generations) / len(problems)


def fake_quantised(weights: Weights, bits: int) -> Weights:
    """Round the linear weights as a symmetric quantisation with groups of 32 along a row would; the rest stays."""
    return {
        name: _rounded(weight, bits) if name.endswith("_proj.weight") else weight for name, weight in weights.items()
    }


def _rounded(weight: Tensor, bits: int) -> Tensor:
    largest = 2 ** (bits - 1) - 1
    groups = weight.reshape(-1, _GROUP)
    scale = (groups.abs().amax(dim=1, keepdim=True) / largest).clamp_min(1e-12)
    levels: Tensor = (groups / scale).round().clamp(-largest, largest)
    return levels.mul(scale).reshape(weight.shape)


def acceptance(draft: Weights, shape: Shape, generations: Iterable[Generation], drafted_per_cycle: int) -> Acceptance:
    """Replay greedy speculative decoding of a target's outputs with a draft model.

    Under the deterministic rule a draft token is accepted while it equals the target's, so up to its first miss the
    draft has seen the target's own output, and one teacher-forced run of the draft gives all its guesses. The
    target's first token comes from the prefill; nothing is drafted behind the end token.
    """
    import torch

    drafted = accepted = cycles = committed = 0
    for generation in generations:
        ids = torch.tensor([[*generation.prompt, *generation.output]])
        with torch.inference_mode():
            logits = forward(draft, shape, ids, torch.arange(ids.shape[1])[None]).logits
        first = len(generation.prompt)
        hits = (logits[0, first - 1 : -1].argmax(-1) == ids[0, first:]).tolist()
        at = 1
        while at < len(hits):
            window = hits[at : at + drafted_per_cycle]
            matched = window.index(False) if False in window else len(window)
            bonus = 1 if at + matched < len(hits) else 0
            drafted, accepted = drafted + len(window), accepted + matched
            cycles, committed = cycles + 1, committed + matched + bonus
            at += matched + bonus
    return Acceptance(drafted, accepted, cycles, committed)


def block_acceptance(
    target: Weights,
    target_shape: Shape,
    draft: Weights,
    shape: DraftShape,
    generations: Iterable[Generation],
    block_size: int,
) -> Acceptance:
    """Replay greedy decoding of a target's outputs with a block draft, block by block as the decoding loop does it.

    Accepted guesses equal the target's own tokens, so the context features of one run over prompt and output serve
    every cycle. Guesses behind the end token are not counted; a cycle that reaches it commits no bonus token.
    """
    import torch

    drafted = accepted = cycles = committed = 0
    for generation in generations:
        ids = [*generation.prompt, *generation.output]
        with torch.inference_mode():
            known = forward(target, target_shape, torch.tensor([ids]), torch.arange(len(ids))[None])
            features = context_features(known.outputs, shape)
            anchor = len(generation.prompt)
            while anchor < len(ids) - 1:
                guesses = draft_block(draft, shape, target, ids[anchor], features[:, :anchor], block_size)
                hits = [guess == token for guess, token in zip(guesses, ids[anchor + 1 :], strict=False)]
                matched = hits.index(False) if False in hits else len(hits)
                bonus = 1 if anchor + matched < len(ids) - 1 else 0
                drafted, accepted = drafted + len(hits), accepted + matched
                cycles, committed = cycles + 1, committed + matched + bonus
                anchor += matched + bonus
    return Acceptance(drafted, accepted, cycles, committed)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of the share `right / n`."""
    z = 1.959964
    share = right / n
    centre = share + z * z / (2 * n)
    margin = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - margin) / (1 + z * z / n), (centre + margin) / (1 + z * z / n)


def measure_family(folder: Path, n: int, acceptance_problems: int) -> Report:
    """Measure every member with weights under `folder` on `n` held-out problems: the figures of the card."""
    problems = held_out(n)
    members: dict[str, dict[str, Accuracy]] = {}
    targets: list[Generation] = []
    for name, recipe in RECIPES.items():
        tokenizer, weights = load_tokenizer(folder / name), load_weights(folder / name)
        exact = answer_problems(weights, recipe.shape, tokenizer, problems)
        members[name] = {"float32": _measured(tokenizer, problems, exact, exact)}
        for bits in QUANTISATION_BITS:
            rounded = answer_problems(fake_quantised(weights, bits), recipe.shape, tokenizer, problems)
            members[name][f"int{bits}"] = _measured(tokenizer, problems, rounded, exact)
        if name == "target":
            targets = exact[:acceptance_problems]
    draft, shape = load_weights(folder / "draft"), RECIPES["draft"].shape
    accepted = {f"k={k}": acceptance(draft, shape, targets, k) for k in DRAFTED_PER_CYCLE}
    target, block_draft = load_weights(folder / "target"), load_weights(folder / DFLASH)
    by_block = {
        f"b={size}": block_acceptance(target, RECIPES["target"].shape, block_draft, DFLASH_RECIPE.shape, targets, size)
        for size in BLOCK_SIZES
    }
    return Report(TEST_SEED, members, len(targets), accepted, by_block)


def _measured(
    tokenizer: Tokenizer, problems: Sequence[Problem], generations: Sequence[Generation], exact: Sequence[Generation]
) -> Accuracy:
    tokens = sum(len(generation.output) for generation in generations)
    identical = sum(one.output == other.output for one, other in zip(generations, exact, strict=True))
    right = count_right(tokenizer, problems, generations)
    return Accuracy(right, len(problems), identical, tokens / len(problems))


def markdown(report: Report) -> str:
    """Return a report as the three tables of the model card."""
    lines = [
        "| model | weights | right | accuracy | 95 % interval | outputs identical to float32 | tokens per answer |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for member, measured in report.members.items():
        for weights, one in measured.items():
            low, high = wilson_interval(one.right, one.problems)
            figures = f"{one.right / one.problems:.3f} | {low:.3f}-{high:.3f} | {one.identical / one.problems:.3f}"
            right = f"{one.right} of {one.problems}"
            lines.append(f"| tiny:{member} | {weights} | {right} | {figures} | {one.mean_output_tokens:.1f} |")
    lines += ["", *_acceptance_table("drafted per cycle", report.acceptance)]
    lines += ["", *_acceptance_table("block size", report.block_acceptance)]
    return "\n".join(lines) + "\n"


def _acceptance_table(setting: str, measured: Mapping[str, Acceptance]) -> list[str]:
    lines = [f"| {setting} | drafted | accepted | acceptance | tau |", "| --- | --- | --- | --- | --- |"]
    for name, one in measured.items():
        lines.append(f"| {name} | {one.drafted} | {one.accepted} | {one.rate:.3f} | {one.tau:.2f} |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of the model card as JSON."""
    parser = argparse.ArgumentParser(prog="python -m examples.tiny_models.evaluate", description=main.__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="parent of the model folders")
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--acceptance-problems", type=int, default=200)
    parser.add_argument("--markdown", action="store_true", help="print the card's tables instead")
    options = parser.parse_args(arguments)

    import torch

    torch.set_num_threads(1)
    report = measure_family(options.weights, options.problems, options.acceptance_problems)
    sys.stdout.write(markdown(report) if options.markdown else json.dumps(asdict(report), indent=2) + "\n")


if __name__ == "__main__":
    main()
