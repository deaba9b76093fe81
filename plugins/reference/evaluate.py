"""Measuring the tiny family: accuracy, acceptance of the draft and what a quantisation costs, all on the CPU.

`python -m decodebench.plugins.reference.evaluate` prints the figures of the model card as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from .network import Shape, Weights, forward
from .problems import Problem, held_out_problems
from .recipes import RECIPES, WEIGHTS_FOLDER
from .task import final_number
from .tokenizer import END_ID

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

TEST_SEED = 20_000
"""Seed of the held-out problems of the card."""
MAX_NEW_TOKENS = 160
QUANTISATION_BITS = (8, 4, 3)
DRAFTED_PER_CYCLE = (2, 4, 8)
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
    """What the card states: accuracies by member and weights, and acceptance by number of drafted tokens."""

    test_seed: int
    members: dict[str, dict[str, Accuracy]]
    acceptance_problems: int
    acceptance: dict[str, Acceptance]


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
    logits, cache = forward(weights, shape, prompts, torch.arange(length).expand(rows, -1))
    columns: list[Tensor] = []
    has_ended = torch.zeros(rows, dtype=torch.bool)
    for position in range(length, length + max_new_tokens):
        columns.append(logits[:, -1].argmax(-1))  # [rows]
        has_ended |= columns[-1] == end_id
        if has_ended.all():
            break
        logits, cache = forward(weights, shape, columns[-1][:, None], torch.full((rows, 1), position), cache=cache)
    return [_until(row, end_id) for row in torch.stack(columns, dim=1).tolist()]


def _until(ids: list[int], end_id: int) -> list[int]:
    return ids[: ids.index(end_id) + 1] if end_id in ids else ids


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
            logits, _ = forward(draft, shape, ids, torch.arange(ids.shape[1])[None])
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
    return Report(TEST_SEED, members, len(targets), accepted)


def _measured(
    tokenizer: Tokenizer, problems: Sequence[Problem], generations: Sequence[Generation], exact: Sequence[Generation]
) -> Accuracy:
    tokens = sum(len(generation.output) for generation in generations)
    identical = sum(one.output == other.output for one, other in zip(generations, exact, strict=True))
    right = count_right(tokenizer, problems, generations)
    return Accuracy(right, len(problems), identical, tokens / len(problems))


def markdown(report: Report) -> str:
    """Return a report as the two tables of the model card."""
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
    lines += ["", "| drafted per cycle | drafted | accepted | acceptance | tau |", "| --- | --- | --- | --- | --- |"]
    for setting, one_draft in report.acceptance.items():
        sums = f"{one_draft.drafted} | {one_draft.accepted}"
        lines.append(f"| {setting} | {sums} | {one_draft.rate:.3f} | {one_draft.tau:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of the model card as JSON."""
    parser = argparse.ArgumentParser(prog="python -m decodebench.plugins.reference.evaluate", description=main.__doc__)
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
