"""The shipped draft on its target, in float32: output, acceptance and the other engine."""

from __future__ import annotations

import itertools
from itertools import islice

import pytest
import torch

from decodebench import Request
from decodebench.plugins.dflash.draft import Draft
from decodebench.plugins.dflash.drafters.block_diffusion import BlockDiffusionDrafter
from decodebench.plugins.dflash.loops import make_loop
from decodebench.plugins.dflash.options import DFlashOptions
from decodebench.plugins.dflash.target import Target, TargetScoring
from decodebench.plugins.reference.family import END_ID
from decodebench.plugins.reference.problems import held_out_problems

from ..models import TINY, torch_model

MARGIN = 1e-4
"""Below this gap between the two best logits float32 does not say which token is the best."""
LIMIT = 96
FULL = list(
    itertools.product(
        ["fixed", "threshold", "ewma", "adl_ewma"],
        ["none", "sparse", "dense"],
        ["none", "branch_beam", "fixed_prefix_rank", "uncertainty_sparse_rank"],
        ["tree", "batch"],
        ["none", "published"],
    )
)


class Tiny:
    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self.target = Target(TINY, torch.float32, "cpu")
        self.drafter = BlockDiffusionDrafter(Draft(TINY.parent / "dflash", torch.float32, "cpu"), self.target)
        tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
        problems = islice(held_out_problems(777), 64)
        self.prompts = [tuple(tokenizer.encode(p.prompt, add_special_tokens=False).ids) for p in problems]
        self._alone: dict[tuple[int, ...], list[int]] = {}

    def steps(self, prompts, drafter=None, **options):
        settings = DFlashOptions.model_validate(options)
        requests = [Request(prompt, LIMIT, stop_token_ids=(END_ID,)) for prompt in prompts]
        return list(make_loop(self.target, drafter, settings).generate(requests))

    def output(self, prompt, **options):
        return [token for step in self.steps([prompt], self.drafter, **options) for token in step.token_ids]

    def alone(self, prompt):
        if prompt not in self._alone:
            steps = self.steps([prompt], block_size=1)
            self._alone[prompt] = [token for step in steps for token in step.token_ids]
        return self._alone[prompt]

    def assert_same(self, prompt, output):
        """Let an output differ only where the target itself is undecided in float32."""
        truth = self.alone(prompt)
        if output == truth:
            return
        at = next(i for i, (a, b) in enumerate(itertools.zip_longest(output, truth)) if a != b)
        best, second = TargetScoring(self.target).prefill([*prompt, *truth[:at]], 512)[0].topk(2).values.tolist()
        assert best - second < MARGIN, f"differs at token {at} with a margin of {best - second}"


@pytest.fixture(scope="module")
def tiny():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Tiny()
    torch.set_num_threads(threads)


def test_tau_at_block_8_is_at_least_3(tiny):
    cycles = [step for prompt in tiny.prompts[:24] for step in tiny.steps([prompt], tiny.drafter, block_size=8)[1:]]
    assert sum(len(step.token_ids) for step in cycles) / len(cycles) >= 3


@pytest.mark.nightly
def test_every_block_size_gives_the_targets_text(tiny):
    for block_size, prompt in itertools.product(range(2, 25), tiny.prompts[:2]):
        tiny.assert_same(prompt, tiny.output(prompt, block_size=block_size))


@pytest.mark.nightly
def test_token_by_token_gives_the_text_of_transformers(tiny):
    model = torch_model(TINY)
    for prompt in tiny.prompts[:4]:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            own = model.generate(ids, max_new_tokens=LIMIT, do_sample=False, eos_token_id=END_ID)[0, len(prompt) :]
        tiny.assert_same(prompt, own.tolist())


@pytest.mark.parametrize("block_size", [4, 16])
def test_a_batch_gives_each_prompts_text(tiny, block_size):
    prompts = tiny.prompts[:6]
    outputs: list[list[int]] = [[] for _ in prompts]
    for step in tiny.steps(prompts, tiny.drafter, block_size=block_size):
        outputs[step.row] += step.token_ids
    for prompt, output in zip(prompts, outputs, strict=True):
        tiny.assert_same(prompt, output)


@pytest.mark.nightly
def test_candidates_gain_tokens_and_change_no_text(tiny):
    rule = {"candidate_mode": "uncertainty_sparse_rank", "fixed_prefix_len": 2, "branch_top_k": 4}
    cycles = {}
    for name, count in (("off", 1), ("on", 8)):
        runs = [tiny.steps([prompt], tiny.drafter, max_candidates=count, **rule) for prompt in tiny.prompts[:12]]
        for prompt, steps in zip(tiny.prompts, runs, strict=False):
            tiny.assert_same(prompt, [token for step in steps for token in step.token_ids])
        cycles[name] = sum(len(steps) - 1 for steps in runs)
    assert cycles["on"] < cycles["off"]


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("scheduler", "seed", "candidates", "verify", "compat"), FULL)
def test_the_full_matrix_gives_the_targets_text(tiny, scheduler, seed, candidates, verify, compat):
    if seed != "none" and candidates != "none":
        pytest.skip("refused: one varies the block that the other hints at")
    if candidates == "none" and verify == "batch":
        pytest.skip("without candidates there is nothing to lay out")
    options = {"scheduler": scheduler, "seed_mode": seed, "candidate_mode": candidates, "compat": compat}
    for prompt in tiny.prompts:
        tiny.assert_same(prompt, tiny.output(prompt, verify=verify, **options))
