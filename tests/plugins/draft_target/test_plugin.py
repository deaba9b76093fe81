"""The plugin in the host: what is refused before anything loads, what is warned of, and the generated code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import decodebench.plugins.draft_target.proto as proto
from decodebench import Request
from decodebench.plugins.draft_target.drafters.prompt_lookup import PromptLookup
from decodebench.plugins.draft_target.draws import Draws
from decodebench.plugins.draft_target.options import DraftTargetOptions
from decodebench.plugins.draft_target.proposal import NOTHING, Proposal
from decodebench.plugins.draft_target.rules import rule_for
from decodebench.plugins.draft_target.wire import packed, unpacked

from ..models import TINY, save_checkpoint

RUN = ["run", "-b", "draft-target", "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 2, "--rounds", 1]


def setting(*options):
    return [part for option in options for part in ("--set", option)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (setting("num_candidates=2", "optimistic=true"), ["num_candidates = 2", "optimistic"]),
        (setting("num_candidates=2", "drafter=prompt-lookup"), ["num_candidates = 2"]),
        (setting("drafter=prompt-lookup", "optimistic=true"), ["optimistic"]),
        (setting("adaptive=true", "num_draft_tokens=20"), ["num_draft_tokens = 20", "max_draft_tokens = 16"]),
        (setting("lookup_shortest=4"), ["lookup_shortest = 4"]),
        (setting("tls_ca=x.pem"), ["tls_ca", "embedded"]),
        (setting("server=nonsense"), ["server = 'nonsense'", "HOST:PORT"]),
        (setting("server=localhost:99999"), ["HOST:PORT"]),
        (setting("server=localhost:9", "tls_ca=/no/such.pem"), ["tls_ca", "/no/such.pem"]),
        (setting("server=localhost:9", "auth_token_file=/no/token"), ["auth_token_file", "/no/token"]),
        (setting("rule=probabilistic"), ["probabilistic", "temperature = 0"]),
        ([*setting("rule=deterministic"), "--temperature", "0.7"], ["deterministic", "0.7"]),
        (setting("rule=greedy"), ["rule", "greedy"]),
        (setting("num_draft_tokens=-1"), ["num_draft_tokens"]),
        (setting("draft=tiny:nothing"), ["tiny:nothing"]),
        (["-m", "tiny:draft"], ["no draft is known for 'tiny:draft'", "prompt-lookup"]),
        (setting("drafter=model,prompt-lookup", "num_draft_tokens=0"), ["drafts nothing"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_loads(cli, tmp_path, flags, words):
    ended = cli(*RUN, *flags, "-o", tmp_path / "out")
    assert ended.code == 2, ended.err
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err
    assert not list((tmp_path / "out").glob("raw/**/*.jsonl"))


def test_another_tokenizer_is_refused_with_both_names(cli, tmp_path):
    other = save_checkpoint(tmp_path / "other", "Qwen2")
    shutil.copy(TINY / "tokenizer.json", other)
    content = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(content.replace('"0"', '"zero"', 1))
    ended = cli(*RUN, "--set", f"draft={other}", "-o", tmp_path / "out")
    assert ended.code == 2
    assert "different tokenizers" in ended.err
    assert str(other) in ended.err and "tiny:target" in ended.err


def test_one_run_with_an_idle_option_warns(cli, tmp_path):
    ended = cli(*RUN, *setting("max_draft_tokens=9"), "--dry-run", "--no-probe", "-o", tmp_path)
    assert ended.code == 0
    assert "max_draft_tokens" in ended.err and "without adaptive" in ended.err


def test_the_command_is_listed_and_a_wrong_one_is_suggested(cli):
    assert "serve-target" in cli("--help").out
    assert "--max-sessions" in cli("serve-target", "--help").out
    ended = cli("serve-targe")
    assert ended.code == 2
    assert "did you mean 'serve-target'?" in ended.err


def test_the_sweep_over_draft_lengths(cli, tmp_path):
    flags = ["-m", "tiny:target", "--task", "tiny-gsm", "--dry-run", "--no-probe", "--json", "-o", tmp_path]
    ended = cli("sweep", "draft-length", *flags)
    assert ended.code == 0, ended.err
    cells = [cell["options"] for cell in ended.json["cells"]]
    assert [cell["num_draft_tokens"] for cell in cells] == [*range(9), 5]
    assert cells[-1]["adaptive"]


def test_scores_are_the_targets(tiny):
    from ..models import assert_shares_a_prompt, torch_logits, torch_model

    ids = tiny.prompts[0]
    expected = torch.tensor(torch_logits(torch_model(TINY), ids)).log_softmax(-1)
    scores = tiny.backend().score(ids, top_k=2)
    assert_shares_a_prompt(tiny.backend(), ids, tiny.prompts[1])
    for at in range(1, len(ids)):
        assert scores.logprobs[at] == pytest.approx(float(expected[at - 1, ids[at]]), abs=1e-3)
    assert len(scores.top_ids[1]) == 2


def test_the_generated_code_is_that_of_the_definition(tmp_path):
    """What `make proto` does, elsewhere."""
    pytest.importorskip("grpc_tools")
    folder = Path(proto.__file__).parent
    shutil.copy(folder / "verification.proto", tmp_path)
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", *out, "verification.proto"]
    subprocess.run(command, check=True, cwd=tmp_path)
    for name in ("verification_pb2.py", "verification_pb2.pyi"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()
    stubs = (tmp_path / "verification_pb2_grpc.py").read_text()
    stubs = stubs.replace("\nimport verification_pb2", "\nfrom . import verification_pb2")
    assert stubs == (folder / "verification_pb2_grpc.py").read_text()


@pytest.mark.parametrize("kept", [3, 90, 100])
def test_distributions_survive_the_wire_exactly(kept):
    row = torch.rand(100, generator=torch.Generator().manual_seed(kept))
    row[torch.randperm(100)[kept:]] = 0
    row /= row.sum()
    message = packed(row)
    assert bool(message.ids) == (kept == 3)
    assert torch.equal(unpacked([message], 120, "cpu")[0, :100], row)


def test_look_ups_copy_behind_the_latest_longest_match():
    drafter = PromptLookup(longest=3, shortest=1)
    drafter.begin(Request((1,), 9))
    assert drafter.draft([1, 2, 3, 4], 3) is NOTHING
    assert drafter.draft([1, 2, 3, 4, 2, 3], 3) == Proposal(((4, 2, 3),))
    assert drafter.draft([1, 2, 3, 4, 2, 3, 9, 2, 3], 2) == Proposal(((9, 2),))  # the latest one
    assert drafter.draft([1, 2, 3, 4, 2, 3, 9, 2, 3, 4], 4) == Proposal(((2, 3, 9, 2),))  # 2 3 4, not the last 4
    drafter.begin(Request((1,), 9))
    assert drafter.draft([7, 7], 2) == Proposal(((7,),))


def judged(name, temperature, proposal, logits, seed=0):
    sampling = Request((1,), 9, temperature=temperature, seed=seed)
    return rule_for(name, temperature).judge(proposal, torch.tensor(logits), sampling, Draws(seed), 5)


def test_the_deterministic_rule_takes_the_longest_candidate_and_the_first_of_ties():
    rows = [[[0.0, 5, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 5.0]]]
    whole = judged("deterministic", 0, Proposal(((1, 2),)), rows)
    assert (whole.candidate, whole.accepted, whole.next_id) == (0, 2, 3)
    half = judged("deterministic", 0, Proposal(((1, 3),)), rows)
    assert (half.accepted, half.next_id) == (1, 2)
    several = judged("deterministic", 0, Proposal(((3, 2), (1, 2), (1, 2))), rows * 3)
    assert (several.candidate, several.accepted) == (1, 2)
    nothing = judged("deterministic", 0, NOTHING, [[[0.0, 0, 9, 0]]])
    assert (nothing.accepted, nothing.next_id) == (0, 2)


def test_a_certain_proposal_is_accepted_as_often_as_the_target_draws_it():
    rows = [[[0.0, 1.0, 2.0, 0.5], [0.0, 0, 0, 0]]]
    chance = float(torch.tensor(rows[0][0]).softmax(-1)[2])
    found = [judged("probabilistic", 1.0, Proposal(((2,),)), rows, seed) for seed in range(4000)]
    assert sum(one.accepted for one in found) / len(found) == pytest.approx(chance, abs=0.03)
    assert all(one.next_id != 2 for one in found if not one.accepted)


def test_options_are_described():
    for name, field in DraftTargetOptions.model_fields.items():
        assert field.description, name
